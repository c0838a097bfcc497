//! Downloads from servers that work, break off, lie or are not there.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use lfnn_data::fetch::{Patience, Remote, fetch_files};
use lfnn_data::{Attempt, DataError, DatasetName, PublishedFile, Update, fetch, silent};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::server::{Behaviour, Server};
use crate::support::{without, write};

/// What the servers should serve.
fn content() -> Vec<u8> {
    (0..100_000u32).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn published(name: &'static str, bytes: &[u8]) -> PublishedFile {
    PublishedFile {
        name: name.into(),
        bytes: bytes.len() as u64,
        sha256: Some(sha256(bytes).into()),
    }
}

fn remote(mirrors: Vec<String>) -> Remote {
    Remote { file: published("file.gz", &content()), mirrors, members: Vec::new() }
}

const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(5), stall: Duration::from_secs(1), tries: 5 };

fn get(remote: &Remote, folder: &Path) -> Result<(), DataError> {
    fetch_files(std::slice::from_ref(remote), folder, PATIENCE, &silent)
}

/// Fetches from these mirrors, which must give the right file.
fn assert_gets(server: &Server, folder: &Path, paths: &[&str]) {
    get(&remote(paths.iter().map(|path| server.url(path)).collect()), folder).unwrap();
    assert_eq!(fs::read(folder.join("file.gz")).unwrap(), content());
    assert!(!folder.join("file.gz.part").exists());
}

/// What goes wrong when there is only this mirror.
fn problem(behaviour: Behaviour) -> String {
    let server = Server::start([("/x", behaviour)]);
    let folder = tempdir().unwrap();
    let error = get(&remote(vec![server.url("/x")]), folder.path()).unwrap_err();
    assert!(!folder.path().join("file.gz").exists());
    let DataError::Download { attempts, .. } = error else { panic!("{error}") };
    attempts[0].problem.clone()
}

#[test]
fn a_file_is_received_checked_and_reported() {
    let server = Server::start([("/x", Behaviour::Serve(content()))]);
    let folder = tempdir().unwrap();
    let last = Mutex::new(0);
    let progress = |update: &Update<'_>| {
        assert_eq!(update.total, 100_000);
        if update.what == "file.gz" {
            *last.lock().unwrap() = update.done;
        }
    };
    let remote = remote(vec![server.url("/x")]);
    let wanted = folder.path().join("made/on/the/way");
    fetch_files(std::slice::from_ref(&remote), &wanted, PATIENCE, &progress).unwrap();
    assert_eq!(fs::read(wanted.join("file.gz")).unwrap(), content());
    assert_eq!(last.into_inner().unwrap(), 100_000);

    // A second time nothing is asked for.
    get(&remote, &wanted).unwrap();
    assert_eq!(server.log(), ["/x -"]);
}

#[test]
fn a_file_that_is_there_but_wrong_is_fetched_again() {
    let server = Server::start([("/x", Behaviour::Serve(content()))]);
    let folder = tempdir().unwrap();
    write(&folder.path().join("file.gz"), vec![0; 100_000]);
    assert_gets(&server, folder.path(), &["/x"]);
}

#[test]
fn a_download_that_breaks_off_is_continued_where_it_stopped() {
    let server = Server::start([("/x", Behaviour::BreakOff(content(), 30_000))]);
    let folder = tempdir().unwrap();
    assert_gets(&server, folder.path(), &["/x"]);
    assert_eq!(server.log(), ["/x -", "/x 30000", "/x 60000", "/x 90000"]);
}

#[test]
fn a_server_that_falls_silent_is_left_and_asked_again() {
    let server = Server::start([("/x", Behaviour::Stall(content()))]);
    let folder = tempdir().unwrap();
    assert_gets(&server, folder.path(), &["/x"]);
    assert_eq!(server.log(), ["/x -", "/x 50000"]);
}

#[test]
fn a_later_run_continues_the_part_of_an_earlier_one() {
    let server = Server::start([("/x", Behaviour::Serve(content()))]);
    let folder = tempdir().unwrap();
    write(&folder.path().join("file.gz.part"), &content()[..70_000]);
    assert_gets(&server, folder.path(), &["/x"]);
    assert_eq!(server.log(), ["/x 70000"]);
}

#[test]
fn a_part_that_is_whole_needs_no_server() {
    let server = Server::start([]);
    let folder = tempdir().unwrap();
    write(&folder.path().join("file.gz.part"), content());
    assert_gets(&server, folder.path(), &[]);
    assert!(server.log().is_empty());
}

#[test]
fn a_spoilt_part_is_dropped_and_fetched_from_the_start() {
    let server = Server::start([("/x", Behaviour::Serve(content()))]);
    for length in [50_000, 100_000, 200_000] {
        let folder = tempdir().unwrap();
        write(&folder.path().join("file.gz.part"), vec![1; length]);
        assert_gets(&server, folder.path(), &["/x"]);
    }
    assert_eq!(server.log(), ["/x 50000", "/x -", "/x -", "/x -"]);
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let server = Server::start([("/x", Behaviour::IgnoreRangeWhole(content()))]);
    let folder = tempdir().unwrap();
    write(&folder.path().join("file.gz.part"), &content()[..70_000]);
    assert_gets(&server, folder.path(), &["/x"]);
}

#[test]
fn mirrors_are_tried_in_turn_and_continue_one_another() {
    let mut wrong = content();
    wrong[5] ^= 1;
    let server = Server::start([
        ("/wrong", Behaviour::Serve(wrong)),
        ("/broken", Behaviour::IgnoreRange(content(), 40_000)),
        ("/right", Behaviour::Serve(content())),
    ]);
    let folder = tempdir().unwrap();
    assert_gets(&server, folder.path(), &["/absent", "/wrong", "/broken", "/right"]);
    let log = server.log();
    assert_eq!(log, ["/absent -", "/wrong -", "/broken -", "/broken 40000", "/right 40000"]);
}

#[test]
fn when_every_mirror_fails_each_is_named_with_its_fault() {
    let wrong = vec![7; 100_000];
    let server = Server::start([("/wrong", Behaviour::Serve(wrong.clone()))]);
    let folder = tempdir().unwrap();
    let closed = "http://127.0.0.1:1/x".to_owned();
    let mirrors = vec![server.url("/absent"), server.url("/wrong"), closed.clone()];
    let error = get(&remote(mirrors), folder.path()).unwrap_err();
    let message = error.to_string();
    let DataError::Download { file, attempts } = error else { panic!("{message}") };
    assert_eq!(file, "file.gz");
    let expected = [
        Attempt {
            url: server.url("/absent"),
            problem: "answered 404 Not Found (at byte 0 of 100000)".to_owned(),
        },
        Attempt {
            url: server.url("/wrong"),
            problem: format!(
                "wrong contents: sha256 {}; expected {}",
                sha256(&wrong),
                sha256(&content())
            ),
        },
    ];
    assert_eq!(attempts[..2], expected);
    assert_eq!(attempts[2].url, closed);
    assert!(
        message.starts_with("file.gz: no mirror delivered it:\n  http://127.0.0.1:"),
        "{message}"
    );
    for Attempt { url, problem } in &attempts {
        assert!(message.contains(&format!("\n  {url}: {problem}")), "{message}");
    }
}

#[test]
fn each_kind_of_bad_answer_is_told() {
    assert_eq!(
        problem(Behaviour::Serve(vec![1; 300])),
        "answered 300 bytes; expected 100000 (at byte 0 of 100000)"
    );
    assert_eq!(
        problem(Behaviour::Unannounced(vec![1; 100_001])),
        "oversized: more than 100000 bytes"
    );
    // The break is heard as an error of the connection, in ureq's words.
    let broken = problem(Behaviour::IgnoreRange(content(), 40_000));
    assert!(broken.starts_with("broke off"), "{broken}");
    assert!(broken.ends_with("(at byte 40000 of 100000)"), "{broken}");
}

#[test]
fn an_answer_with_another_range_does_not_spoil_the_part() {
    let server = Server::start([
        ("/shifted", Behaviour::WrongRange(content())),
        ("/right", Behaviour::Serve(content())),
    ]);
    let folder = tempdir().unwrap();
    write(&folder.path().join("file.gz.part"), &content()[..70_000]);
    assert_gets(&server, folder.path(), &["/shifted", "/right"]);
    assert_eq!(server.log(), ["/shifted 70000", "/right 70000"]);
}

/// A `.tar.gz` with these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    archive_of(tar::EntryType::Regular, files)
}

/// A `.tar.gz` with these entries of one kind.
fn archive_of(kind: tar::EntryType, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written past `set_path`, which would refuse a path that leads out of the folder.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn get_archive(bytes: Vec<u8>, folder: &Path) -> Result<(), DataError> {
    let mut remote = Remote {
        file: published("set.tar.gz", &bytes),
        members: vec![published("a.bin", b"aaa"), published("b.bin", b"bb")],
        mirrors: Vec::new(),
    };
    let server = Server::start([("/set", Behaviour::Serve(bytes))]);
    remote.mirrors.push(server.url("/set"));
    get(&remote, folder)?;
    // What is unpacked is not fetched again, but what is spoilt is.
    get(&remote, folder)?;
    assert_eq!(server.log().len(), 1);
    write(&folder.join("a.bin"), "xxx");
    get(&remote, folder)?;
    assert_eq!(server.log().len(), 2);
    Ok(())
}

#[test]
fn an_archive_is_unpacked_without_its_folders_and_deleted() {
    let folder = tempdir().unwrap();
    let files: [(&str, &[u8]); 3] =
        [("set/readme.html", b"?"), ("set/b.bin", b"bb"), ("./deep/er/a.bin", b"aaa")];
    get_archive(archive(&files), folder.path()).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.bin", "b.bin"]);
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), b"aaa");
}

#[test]
fn an_archive_that_is_not_as_expected_is_told() {
    let folder = tempdir().unwrap();
    let message =
        |bytes| without(folder.path(), get_archive(bytes, folder.path()).unwrap_err().to_string());
    assert_eq!(
        message(archive(&[("set/b.bin", b"bb")])),
        "set.tar.gz: archive is without a.bin; expected all 2 files"
    );
    assert_eq!(
        message(archive(&[("set/b.bin", b"bbb")])),
        "set.tar.gz: `set/b.bin` in it is 3 bytes of Regular; expected a file of 2 bytes"
    );
    let broken = message(b"no archive".to_vec());
    assert!(broken.starts_with("set.tar.gz: archive is broken ("), "{broken}");
}

#[test]
fn an_archive_with_links_paths_out_of_it_or_more_than_expected_is_refused() {
    let place = tempdir().unwrap();
    let folder = place.path().join("set");
    let refused = |bytes: Vec<u8>| {
        let error = get_archive(bytes, &folder).unwrap_err().to_string();
        assert!(!folder.join("a.bin").exists() && !place.path().join("a.bin").exists());
        without(&folder, error)
    };
    let only = "expected no links, and only paths inside the archive";
    assert_eq!(
        refused(archive(&[("../a.bin", b"aaa"), ("b.bin", b"bb")])),
        format!("set.tar.gz: `../a.bin` in it is 3 bytes of Regular; {only}")
    );
    assert_eq!(
        refused(archive(&[("/a.bin", b"aaa"), ("b.bin", b"bb")])),
        format!("set.tar.gz: `/a.bin` in it is 3 bytes of Regular; {only}")
    );
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        assert_eq!(
            refused(archive_of(kind, &[("elsewhere", b"")])),
            format!("set.tar.gz: `elsewhere` in it is 0 bytes of {kind:?}; {only}")
        );
    }
    let bomb = vec![0; 2 << 20];
    assert_eq!(
        refused(archive(&[("bomb", &bomb), ("a.bin", b"aaa"), ("b.bin", b"bb")])),
        "set.tar.gz: archive is broken (it unpacks to more than 1048581 bytes); expected a whole \
         .tar.gz"
    );
}

#[test]
fn a_download_that_fails_leaves_no_empty_folder() {
    let root = tempdir().unwrap();
    let server = Server::start([]);
    let folder = root.path().join("data/set");
    get(&remote(vec![server.url("/absent")]), &folder).unwrap_err();
    assert!(!root.path().join("data").exists() && root.path().exists());

    // A folder that was there stays, and so does what was received.
    fs::create_dir_all(&folder).unwrap();
    get(&remote(vec![server.url("/absent")]), &folder).unwrap_err();
    assert!(folder.exists());
    let server = Server::start([("/x", Behaviour::IgnoreRange(content(), 40_000))]);
    let other = root.path().join("other");
    get(&remote(vec![server.url("/x")]), &other).unwrap_err();
    assert!(other.join("file.gz.part").exists());
}

#[test]
fn what_has_no_download_says_how_to_get_it() {
    let folder = tempdir().unwrap();
    let message = |name| fetch(name, folder.path(), &silent).unwrap_err().to_string();
    assert_eq!(message(DatasetName::Digits), "digits cannot be fetched; it is compiled in");
    assert!(message(DatasetName::TinyImagenet).contains("tiny-imagenet-200.zip"));
}

#[test]
fn a_wrong_uncompressed_file_would_hide_what_is_fetched() {
    let root = tempdir().unwrap();
    write(&root.path().join("mnist/train-images-idx3-ubyte"), "short");
    let error = fetch(DatasetName::Mnist, root.path(), &silent).unwrap_err();
    assert_eq!(
        without(root.path(), error.to_string()),
        "mnist/train-images-idx3-ubyte: its content is wrong (found 5 bytes; expected \
         47040016); expected the published one; delete the file and fetch again"
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let root = tempdir().unwrap();
    write(&root.path().join("file"), "in the way");
    let error = get(&remote(Vec::new()), &root.path().join("file/folder")).unwrap_err();
    assert_eq!(without(root.path(), error.to_string()), "file/folder: cannot create");
}

/// A full disk is this machine's fault: no other mirror is asked.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_download_at_once() {
    let server = Server::start([("/x", Behaviour::Serve(content()))]);
    let folder = tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("file.gz.part")).unwrap();
    let error = get(&remote(vec![server.url("/x"), server.url("/x")]), folder.path()).unwrap_err();
    assert_eq!(without(folder.path(), error.to_string()), "file.gz.part: cannot write");
    assert_eq!(server.log().len(), 1);
}
