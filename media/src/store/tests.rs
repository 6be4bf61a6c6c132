use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::blob::{GROUP_BYTES, Ranges};
use crate::testing::{answer, sample};

async fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path().join("store")).await.unwrap()
}

#[tokio::test]
async fn a_copied_file_outlives_its_original() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = (store(&dir).await, dir.path().join("file"));
    let data = sample(3 * 1024 * 1024 + 17);
    fs::write(&path, &data).unwrap();
    let holding = store.import(&path, Import::Copy).await.unwrap();
    assert_eq!(holding, Holding { hash: Hash::of(&data), length: data.len() as u64 });
    fs::remove_file(&path).unwrap();
    assert_eq!(store.read(holding.hash, u64::MAX).await.unwrap(), data);
    assert_eq!(store.holdings().await.unwrap(), std::slice::from_ref(&holding));
    assert_eq!(store.used(), holding.length);
    store.import_bytes(data).await.unwrap();
    assert_eq!(store.used(), holding.length, "the same bytes are kept once");
}

#[tokio::test]
async fn a_referenced_file_that_changes_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = (store(&dir).await, dir.path().join("file"));
    fs::write(&path, b"before").unwrap();
    let holding = store.import(&path, Import::Reference).await.unwrap();
    assert_eq!(store.read(holding.hash, 10).await.unwrap(), b"before");
    assert!(matches!(store.read(holding.hash, 5).await, Err(StoreError::TooLarge { .. })));
    assert_eq!(store.used(), 0);
    fs::write(&path, b"after, and longer").unwrap();
    assert!(matches!(store.reader(holding.hash).await, Err(StoreError::Changed(_))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.reader(holding.hash).await, Err(StoreError::Changed(_))));
}

#[tokio::test]
async fn a_folder_or_nothing_cannot_be_imported_and_the_error_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    for path in [dir.path().to_path_buf(), dir.path().join("nothing")] {
        let error = store.import(&path, Import::Copy).await.unwrap_err();
        assert!(matches!(&error, StoreError::Io { path: named, .. } if *named == path), "{error}");
    }
    assert_eq!(store.used(), 0);
}

#[tokio::test]
async fn groups_in_any_order_make_the_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    for size in [0, 1, GROUP_BYTES, GROUP_BYTES + 1, 9 * GROUP_BYTES + 100] {
        let data = sample(size);
        let hash = Hash::of(&data);
        let partial = store.partial(hash, size).await.unwrap().unwrap();
        for group in (0..tree::groups(size)).rev() {
            assert!(matches!(partial.finish(), Err(StoreError::Missing(_))));
            let (proof, bytes) = answer(&data, &(group..group + 1));
            partial.write(group..group + 1, &proof, &bytes).unwrap();
        }
        partial.finish().unwrap();
        drop(partial);
        assert_eq!(store.read(hash, u64::MAX).await.unwrap(), data, "{size} bytes");
        assert!(store.partial(hash, size).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_does_not_match_is_not_written_but_what_stands_before_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let data = sample(5 * GROUP_BYTES);
    let partial = store.partial(Hash::of(&data), data.len() as u64).await.unwrap().unwrap();
    let (proof, mut bytes) = answer(&data, &(1..4));
    bytes[2 * GROUP_BYTES as usize] ^= 1;
    assert!(matches!(partial.write(1..4, &proof, &bytes), Err(WriteError::Mismatch(_))));
    assert_eq!(partial.held(), Ranges::from(1..3));
}

#[tokio::test]
async fn a_reopened_store_resumes_and_drops_what_the_disk_altered() {
    let dir = tempfile::tempdir().unwrap();
    let data = sample(200 * GROUP_BYTES + 5);
    let (hash, length) = (Hash::of(&data), data.len() as u64);
    {
        let store = store(&dir).await;
        let partial = store.partial(hash, length).await.unwrap().unwrap();
        for run in [10..70, 100..130, 200..201] {
            let (proof, bytes) = answer(&data, &run);
            partial.write(run, &proof, &bytes).unwrap();
        }
        partial.checkpoint().unwrap();
        // Flip a bit in group 120, as a failing disk would.
        let file = File::options().write(true).open(store.0.partial_data(&hash)).unwrap();
        crate::disk::write_all_at(&file, &[data[(120 * GROUP_BYTES) as usize] ^ 1], 120 * GROUP_BYTES).unwrap();
    }
    let store = reopen(&dir).await;
    assert!(matches!(store.partial(hash, length + 1).await, Err(StoreError::Length { .. })));
    let partial = store.partial(hash, length).await.unwrap().unwrap();
    // A chunk is kept up to its first altered group.
    assert_eq!(partial.held(), [10..70, 100..120, 128..130, 200..201].into_iter().collect());
    assert_eq!(partial.resumed_bytes(), (60 + 20 + 2) * GROUP_BYTES + 5);
    for run in partial.held().missing(0..201).runs() {
        let (proof, bytes) = answer(&data, run);
        partial.write(run.clone(), &proof, &bytes).unwrap();
    }
    partial.finish().unwrap();
    assert_eq!(store.read(hash, u64::MAX).await.unwrap(), data);
}

/// Opens the store again; the one before closes in the background.
async fn reopen(dir: &tempfile::TempDir) -> Store {
    loop {
        match Store::open(dir.path().join("store")).await {
            Err(StoreError::Held(_)) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_crash_between_the_last_steps_is_put_right() {
    let data = sample(3 * GROUP_BYTES);
    let (hash, length) = (Hash::of(&data), data.len() as u64);
    for renamed in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        {
            let store = store(&dir).await;
            let partial = store.partial(hash, length).await.unwrap().unwrap();
            let (proof, bytes) = answer(&data, &(0..3));
            partial.write(0..3, &proof, &bytes).unwrap();
            partial.checkpoint().unwrap();
            let inner = &store.0;
            if renamed > 0 {
                fs::rename(inner.partial_tree(&hash), inner.outboard(&hash)).unwrap();
            }
            if renamed > 1 {
                fs::rename(inner.partial_data(&hash), inner.data(&hash)).unwrap();
            }
            fs::write(inner.root.join("temp/.polymorph-1-1.part"), b"left").unwrap();
            fs::write(inner.root.join("partial/stray"), b"left").unwrap();
        }
        let store = reopen(&dir).await;
        if let Some(partial) = store.partial(hash, length).await.unwrap() {
            assert_eq!(partial.resumed_bytes(), length, "{renamed} renamed");
            partial.finish().unwrap();
        } else {
            assert_eq!(renamed, 2);
        }
        assert_eq!(store.read(hash, u64::MAX).await.unwrap(), data);
        assert_eq!(fs::read_dir(store.path().join("temp")).unwrap().count(), 0);
        assert!(!store.path().join("partial/stray").exists());
    }
}

#[tokio::test]
async fn a_store_is_held_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir).await;
    let error = Store::open(first.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Held(_)), "{error}");
}

#[tokio::test]
async fn another_version_and_foreign_folders_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    drop(store(&dir).await);
    fs::write(root.join(VERSION_FILE), "polymorph store 7\n").unwrap();
    let error = Store::open(&root).await.unwrap_err();
    assert!(matches!(&error, StoreError::WrongVersion { found, .. } if found == "7"), "{error}");
    let foreign = dir.path().join("photos");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("cat.jpg"), b"").unwrap();
    assert!(matches!(Store::open(&foreign).await, Err(StoreError::NotAStore(_))));
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
}

#[tokio::test]
async fn a_damaged_index_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    drop(store(&dir).await);
    for bytes in [b"not a database".to_vec(), vec![0; 100_000]] {
        fs::write(root.join("index.redb"), &bytes).unwrap();
        let error = Store::open(&root).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_capacity_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { path: dir.path().join("store"), capacity: Some(100) };
    let store = Store::open_with(config).await.unwrap();
    store.import_bytes(vec![1; 60]).await.unwrap();
    assert!(matches!(store.import_bytes(vec![2; 60]).await, Err(StoreError::Capacity { used: 60, .. })));
    assert!(matches!(store.partial(Hash([9; 32]), 41).await, Err(StoreError::Capacity { .. })));
    store.import_bytes(vec![2; 40]).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_split_in_any_order_gives_the_same_file(
        size in 1..30 * GROUP_BYTES,
        cuts in proptest::collection::vec(0u64..30, 0..10),
        order in any::<u64>(),
    ) {
        let data = sample(size);
        let (hash, groups) = (Hash::of(&data), tree::groups(size));
        let mut ends: Vec<u64> = cuts.into_iter().filter(|cut| (1..groups).contains(cut)).chain([groups]).collect();
        ends.sort_unstable();
        ends.dedup();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let mut runs: Vec<_> = starts.zip(ends.iter().copied()).map(|(start, end)| start..end).collect();
        runs.sort_by_key(|run| Hash::of(&[run.start.to_le_bytes(), order.to_le_bytes()].concat()));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = store(&dir).await;
            let partial = store.partial(hash, size).await.unwrap().unwrap();
            for run in runs {
                let (proof, bytes) = answer(&data, &run);
                partial.write(run, &proof, &bytes).unwrap();
            }
            partial.finish().unwrap();
            assert!(store.read(hash, u64::MAX).await.unwrap() == data);
            // The tree it kept is the one an import would have made, so it can be served.
            let served = store.reader(hash).await.unwrap();
            let mut buffer = Vec::new();
            served.answer(Some(0..groups), &(0..groups), &mut buffer).unwrap();
            let (proof, bytes) = answer(&data, &(0..groups));
            assert!(buffer == [proof, bytes].concat());
        });
    }
}
