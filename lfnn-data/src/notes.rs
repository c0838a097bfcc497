//! What a user may not expect of a data set, though nothing is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::image_options::BitDepth;

/// Something about a data set that a user should hear of once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Something in the folders of images is not used.
    LeftOut {
        /// The folder of the set: `train`; empty if it is the whole.
        set: String,
        /// How many of each kind (`.tif`, `hidden file`), the most frequent first.
        kinds: Vec<(String, u64)>,
        /// One of them, below the data set's folder.
        first: PathBuf,
    },
    /// The validation part is the test set, because there is no other.
    ValidationIsTest {
        /// Its folder: `val`.
        folder: String,
    },
    /// Images without colour are expanded to RGB.
    Grey {
        /// How many.
        images: u64,
        /// Of how many.
        of: u64,
    },
    /// Images in colour become grey.
    Colour {
        /// How many.
        images: u64,
        /// Of how many.
        of: u64,
    },
    /// Files with 16 bits per channel keep the upper 8.
    SixteenBits {
        /// How many.
        files: u64,
    },
    /// Files have 16 bits per channel, so the pixels of all images are real numbers.
    Deep {
        /// How many.
        files: u64,
        /// Of how many.
        of: u64,
    },
    /// Columns of text become a feature for each category.
    Categories {
        /// The columns, each with the number of its categories.
        columns: Vec<(String, usize)>,
    },
    /// Empty cells of a table are filled.
    Filled {
        /// The columns, each with the number of its empty cells.
        columns: Vec<(String, usize)>,
    },
    /// Columns have the same value in all rows to train on.
    Constant {
        /// The columns.
        columns: Vec<String>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::LeftOut { set, kinds, first } => {
                let total = kinds.iter().map(|(_, count)| count).sum();
                let kinds: Vec<String> = kinds
                    .iter()
                    .map(|(kind, count)| match kind.starts_with('.') {
                        true => format!("{count} {kind}"),
                        false => of(*count, kind),
                    })
                    .collect();
                let set = if set.is_empty() { String::new() } else { format!(" of {set}/") };
                let (total, kinds) = (of(total, "file"), kinds.join(", "));
                write!(f, "left out {total}{set}: {kinds} (first: {})", first.display())
            }
            Note::ValidationIsTest { folder } => {
                write!(f, "there is no test/; {folder}/ is the test set")
            }
            Note::Grey { images, of } => share(f, *images, *of, "image", ("grey", "as RGB")),
            Note::Colour { images, of } => {
                share(f, *images, *of, "image", ("in colour", "as grey"))
            }
            Note::SixteenBits { files: 1 } => {
                f.write_str("1 file has 16 bits per channel; it trains with 8")
            }
            Note::SixteenBits { files } => {
                write!(f, "{files} files have 16 bits per channel; they train with 8")
            }
            Note::Deep { files, of } => {
                let has = if *files == 1 { "has" } else { "have" };
                let whole =
                    "all images train with real numbers (`dataset.bits: 8` trains with bytes)";
                write!(f, "{files} of {} {has} 16 bits per channel; {whole}", self::of(*of, "file"))
            }
            Note::Categories { columns } => {
                write!(f, "text becomes one feature per category: {}", counted(columns))
            }
            Note::Filled { columns } => {
                let cells = columns.iter().map(|(_, count)| count).sum();
                let verb = if cells == 1 { "is" } else { "are" };
                let cells = number_of(cells, "empty cell");
                let columns = counted(columns);
                write!(f, "{cells} {verb} filled (numbers: the column's mean): {columns}")
            }
            Note::Constant { columns } => {
                let names: Vec<String> =
                    columns.iter().map(|column| format!("`{column}`")).collect();
                write!(
                    f,
                    "one value in all rows to train on, so nothing is learned from it: {}",
                    names.join(", ")
                )
            }
        }
    }
}

/// `1 of 4 images is grey; it trains as RGB`.
fn share(
    f: &mut fmt::Formatter<'_>,
    some: u64,
    all: u64,
    thing: &str,
    (found, becomes): (&str, &str),
) -> fmt::Result {
    match some {
        1 if all > 1 => write!(f, "1 of {all} {thing}s is {found}; it trains {becomes}"),
        _ if some < all => write!(f, "{some} of {all} {thing}s are {found}; they train {becomes}"),
        _ => write!(f, "all {all} {thing}s are {found}; they train {becomes}"),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn number_of(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn of(count: u64, thing: &str) -> String {
    number_of(usize::try_from(count).unwrap_or(usize::MAX), thing)
}

/// `` `a` (3), `b` (1) ``.
fn counted(columns: &[(String, usize)]) -> String {
    let each: Vec<String> =
        columns.iter().map(|(column, count)| format!("`{column}` ({count})")).collect();
    each.join(", ")
}

/// What of a set's folders is not used.
#[derive(Default)]
pub(crate) struct LeftOut {
    kinds: BTreeMap<String, u64>,
    first: Option<PathBuf>,
}

impl LeftOut {
    /// Counts one thing: an ending with its dot, or what it is.
    pub(crate) fn add(&mut self, path: &Path, kind: &str) {
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        self.first.get_or_insert_with(|| path.to_owned());
    }

    /// Counts a file by its ending.
    pub(crate) fn add_file(&mut self, path: &Path) {
        match path.extension() {
            Some(ending) => {
                let ending = ending.to_string_lossy().to_lowercase();
                self.add(path, &format!(".{ending}"));
            }
            None => self.add(path, "extensionless file"),
        }
    }

    /// The note, if there is anything to note; paths are relative to `folder`.
    pub(crate) fn note(self, folder: &Path, set: &Path) -> Option<Note> {
        let below = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
        let mut kinds: Vec<_> = self.kinds.into_iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let set = below(set).display().to_string();
        Some(Note::LeftOut { set, kinds, first: below(&self.first?) })
    }
}

/// How many images of a set are of a kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) images: u64,
    pub(crate) grey: u64,
    pub(crate) deep: u64,
}

impl Tally {
    /// That of several sets together.
    pub(crate) fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, tally| Self {
            images: sum.images + tally.images,
            grey: sum.grey + tally.grey,
            deep: sum.deep + tally.deep,
        })
    }

    /// What becomes of them, where it is not what they are.
    pub(crate) fn notes(self, (channels, depth): (usize, BitDepth)) -> impl Iterator<Item = Note> {
        let Self { images: of, grey, deep } = self;
        let colours = match channels {
            1 if grey < of => Some(Note::Colour { images: of - grey, of }),
            3 if grey > 0 => Some(Note::Grey { images: grey, of }),
            _ => None,
        };
        let is_kept = deep > 0 && depth == BitDepth::Sixteen;
        let kept = is_kept.then_some(Note::Deep { files: deep, of });
        colours.into_iter().chain(kept).chain(self.cut(depth))
    }

    /// How many files lose bits.
    pub(crate) fn cut(self, depth: BitDepth) -> Option<Note> {
        let is_cut = self.deep > 0 && depth == BitDepth::Eight;
        is_cut.then_some(Note::SixteenBits { files: self.deep })
    }
}
