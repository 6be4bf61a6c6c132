//! Six small media files made by the project, for tests and demonstrations; how they are made says
//! `samples/README.md`.

/// A file's name and its bytes.
pub const FILES: [(&str, &[u8]); 6] = [
    ("tale.md", include_bytes!("../samples/tale.md")),
    ("shapes.webp", include_bytes!("../samples/shapes.webp")),
    ("broadcast.gif", include_bytes!("../samples/broadcast.gif")),
    ("morph.mp4", include_bytes!("../samples/morph.mp4")),
    ("tune.opus", include_bytes!("../samples/tune.opus")),
    ("slides.pdf", include_bytes!("../samples/slides.pdf")),
];

#[cfg(test)]
mod tests {
    #[test]
    fn six_files_of_at_most_two_mebibytes_have_known_media_types() {
        let bytes: usize = super::FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 2 << 20, "{bytes}");
        for (name, bytes) in super::FILES {
            assert!(!bytes.is_empty());
            assert_ne!(crate::package::media_type::of_name(name), "application/octet-stream", "{name}");
        }
    }
}
