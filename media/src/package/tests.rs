use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fetch::{Fetcher, Options};
use crate::serve::Limits;
use crate::store::{Import, Store};
use crate::testing::{honest, list, sample};

fn item(name: &str, length: u64) -> Item {
    let media_type = media_type::of_name(name).to_owned();
    Item { name: name.into(), title: String::new(), media_type, length, hash: Hash([length as u8; 32]) }
}

#[test]
fn the_order_of_files_does_not_matter() {
    let one = Package::new("t", vec![item("a.txt", 1), item("b/c.png", 2)]).unwrap();
    let two = Package::new("t", vec![item("b/c.png", 2), item("a.txt", 1)]).unwrap();
    assert_eq!(one.root(), two.root());
    assert_ne!(one.root(), Package::new("other", one.items().to_vec()).unwrap().root());
    assert_eq!(Package::decode(&one.encode()), Ok(one));
}

#[test]
fn a_package_stays_as_it_is() {
    let package = Package::new("t", vec![item("a.txt", 300)]).unwrap();
    let expected = "706f6c796d6f727068207061636b61676500".to_owned()
        + "01017401"
        + "05612e747874"
        + "00"
        + "0a746578742f706c61696e"
        + "ac02"
        + &"2c".repeat(32);
    assert_eq!(data_encoding::HEXLOWER.encode(&package.encode()), expected);
}

#[test]
fn what_is_not_exactly_a_package_is_refused() {
    let bytes = Package::new("t", vec![item("a", 1), item("b", 2)]).unwrap().encode();
    assert_eq!(Package::decode(b"GIF89a"), Err(PackageError::NotAPackage));
    assert_eq!(Package::decode(&bytes[..bytes.len() - 1]), Err(PackageError::Malformed));
    assert_eq!(Package::decode(&[bytes.as_slice(), &[0]].concat()), Err(PackageError::Malformed));
    let mut later = bytes.clone();
    later[MAGIC_BYTES] = 2;
    assert_eq!(Package::decode(&later), Err(PackageError::Version(2)));
    let unsorted = Body { title: String::new(), items: vec![item("b", 1), item("a", 1)] };
    let bytes = [PREFIX, &postcard::to_stdvec(&unsorted).unwrap()].concat();
    assert_eq!(Package::decode(&bytes), Err(PackageError::Malformed));
    let evil = Body { title: String::new(), items: vec![item("../../x", 1)] };
    let bytes = [PREFIX, &postcard::to_stdvec(&evil).unwrap()].concat();
    assert!(matches!(Package::decode(&bytes), Err(PackageError::Name(_))));
    // "title of 1 byte" written in two bytes instead of one.
    let overlong = [PREFIX, &[0x81, 0x00, b't'], &postcard::to_stdvec(&vec![item("a", 1)]).unwrap()].concat();
    assert_eq!(Package::decode(&overlong), Err(PackageError::Malformed));
    assert_eq!(Package::new("", Vec::new()), Err(PackageError::Size));
    assert_eq!(Package::new("x".repeat(MAX_TITLE_BYTES + 1), vec![item("a", 1)]), Err(PackageError::Size));
}

proptest! {
    #[test]
    fn altered_bytes_are_an_error_or_another_package(at in 0usize..200, with in any::<u8>()) {
        let package = Package::new("title", vec![item("a.txt", 1), item("b/c.png", 70_000)]).unwrap();
        let mut bytes = package.encode();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(read) = Package::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}

struct Lab {
    dir: tempfile::TempDir,
    store: Store,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).await.unwrap();
        fs::create_dir_all(dir.path().join("album/live")).unwrap();
        fs::write(dir.path().join("album/one.txt"), b"one").unwrap();
        fs::write(dir.path().join("album/live/two.mp3"), sample(100_000)).unwrap();
        fs::write(dir.path().join("album/empty"), b"").unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    async fn share(&self, name: &str) -> (Package, Hash) {
        share(&self.store, "", vec![self.path(name)], Import::Reference).await.unwrap()
    }
}

#[tokio::test]
async fn a_folder_comes_back_as_it_was() {
    let lab = Lab::new().await;
    let (package, root) = lab.share("album").await;
    let names: Vec<_> = package.items().iter().map(|item| (item.name.as_str(), item.media_type.as_str())).collect();
    let unknown = media_type::UNKNOWN;
    let expected = [("album/empty", unknown), ("album/live/two.mp3", "audio/mpeg"), ("album/one.txt", "text/plain")];
    assert_eq!(names, expected);
    assert_eq!((package.title(), package.root()), ("album", root));
    extract(&lab.store, &package, lab.path("out")).await.unwrap();
    assert_eq!(fs::read(lab.path("out/album/live/two.mp3")).unwrap(), sample(100_000));
    assert_eq!(fs::read(lab.path("out/album/empty")).unwrap(), b"");
    extract(&lab.store, &package, lab.path("out")).await.unwrap();
    fs::write(lab.path("out/album/one.txt"), b"mine").unwrap();
    let error = extract(&lab.store, &package, lab.path("out")).await.unwrap_err();
    assert!(matches!(error, ExtractError::Exists(_)), "{error}");
    assert_eq!(fs::read(lab.path("out/album/one.txt")).unwrap(), b"mine");
}

#[tokio::test]
async fn one_item_becomes_the_file_named_or_goes_into_the_folder_named() {
    let lab = Lab::new().await;
    let (package, _) = lab.share("album/one.txt").await;
    assert_eq!(extract(&lab.store, &package, lab.path("new")).await.unwrap(), lab.path("new"));
    assert_eq!(fs::read(lab.path("new")).unwrap(), b"one");
    fs::create_dir(lab.path("folder")).unwrap();
    assert_eq!(extract(&lab.store, &package, lab.path("folder")).await.unwrap(), lab.path("folder/one.txt"));
    assert_eq!(fs::read(lab.path("folder/one.txt")).unwrap(), b"one");
    assert!(fs::read_dir(lab.path("folder")).unwrap().count() == 1, "no draft is left");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_inside_the_folder_does_not_lead_elsewhere() {
    let lab = Lab::new().await;
    let (package, _) = lab.share("album").await;
    fs::create_dir_all(lab.path("out")).unwrap();
    fs::create_dir(lab.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(lab.path("elsewhere"), lab.path("out/album")).unwrap();
    assert!(matches!(extract(&lab.store, &package, lab.path("out")).await, Err(ExtractError::Exists(_))));
    assert_eq!(fs::read_dir(lab.path("elsewhere")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_package_is_fetched_whole_and_the_second_time_from_here() {
    let lab = Lab::new().await;
    let (package, root) = lab.share("album").await;
    let store = Store::open(lab.path("other")).await.unwrap();
    let mut fetcher = Fetcher::new(&store, list([honest(1, &lab.store, Limits::default())]), Options::default());
    let (fetched, sum) = fetch_package(&mut fetcher, root).await.unwrap();
    assert_eq!(fetched, package);
    assert_eq!(sum.bytes, package.length() + package.encode().len() as u64);
    assert_eq!(sum.sources(), 1);
    let mut offline = Fetcher::new(&store, list([]), Options::default());
    assert_eq!(fetch_package(&mut offline, root).await.unwrap().1.bytes, 0);
    extract(&store, &package, lab.path("copy")).await.unwrap();
    assert_eq!(fs::read(lab.path("copy/album/one.txt")).unwrap(), b"one");
}

#[tokio::test]
async fn a_blob_that_is_no_package_says_so() {
    let lab = Lab::new().await;
    let root = lab.store.import_bytes(Arc::<[u8]>::from(sample(5000))).await.unwrap().hash;
    let mut fetcher = Fetcher::new(&lab.store, list([]), Options::default());
    let error = fetch_package(&mut fetcher, root).await.unwrap_err();
    assert!(matches!(error, FetchPackageError::Package(PackageError::NotAPackage)), "{error}");
}
