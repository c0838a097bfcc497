//! An archive of `data fetch`: two members are taken out of whatever it is.
#![no_main]

use lfnn_data::PublishedFile;
use lfnn_data::fetch::unpack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("archive.tar.gz");
    std::fs::write(&archive, bytes).expect("a file in it");
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).expect("a folder in it");
    let member = |name: &'static str, bytes| PublishedFile { name: name.into(), bytes, sha256: None };
    let members = [member("a.bin", 4), member("b.bin", 3)];
    let unpacked = unpack(&archive, &members, &inside, &lfnn_data::silent);
    // Nothing lands outside, and what is there has the size asked for.
    let count = |folder: &std::path::Path| std::fs::read_dir(folder).expect("the folder").count();
    assert_eq!(count(folder.path()), 2);
    if unpacked.is_ok() {
        assert_eq!(count(&inside), 2);
        for PublishedFile { name, bytes, .. } in &members {
            assert_eq!(inside.join(&**name).metadata().expect("the member").len(), *bytes);
        }
    }
});
