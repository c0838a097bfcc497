//! The data sets known by name: their folders, their class names and how to get them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::DataError;

/// A data set's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DatasetName {
    /// 8×8 digits (UCI), compiled into this crate.
    Digits,
    /// Handwritten digits, 28×28, grey.
    Mnist,
    /// Articles of clothing, 28×28, grey.
    FashionMnist,
    /// Ten kinds of things, 32×32, colour.
    Cifar10,
    /// A hundred kinds of things, 32×32, colour.
    Cifar100,
    /// Two hundred classes of ImageNet, 64×64, colour.
    TinyImagenet,
    /// Any folder of images, a folder for each class.
    Folder,
}

impl DatasetName {
    /// Every name, in the order they are listed to a user.
    pub const ALL: [DatasetName; 7] = [
        DatasetName::Digits,
        DatasetName::Mnist,
        DatasetName::FashionMnist,
        DatasetName::Cifar10,
        DatasetName::Cifar100,
        DatasetName::TinyImagenet,
        DatasetName::Folder,
    ];

    /// The name as it is written in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            DatasetName::Digits => "digits",
            DatasetName::Mnist => "mnist",
            DatasetName::FashionMnist => "fashion-mnist",
            DatasetName::Cifar10 => "cifar-10",
            DatasetName::Cifar100 => "cifar-100",
            DatasetName::TinyImagenet => "tiny-imagenet",
            DatasetName::Folder => "folder",
        }
    }

    /// The usual name of its folder below the data folder; none for what is compiled in and for
    /// an image folder, which has a path of its own.
    pub const fn folder(self) -> Option<&'static str> {
        match self {
            DatasetName::Mnist => Some("mnist"),
            DatasetName::FashionMnist => Some("fashion-mnist"),
            DatasetName::Cifar10 => Some("cifar-10-batches-bin"),
            DatasetName::Cifar100 => Some("cifar-100-binary"),
            DatasetName::TinyImagenet => Some("tiny-imagenet-200"),
            DatasetName::Digits | DatasetName::Folder => None,
        }
    }

    /// How a user gets the data set: the end of a message that says it is not there.
    pub fn hint(self) -> String {
        match self {
            DatasetName::Mnist
            | DatasetName::FashionMnist
            | DatasetName::Cifar10
            | DatasetName::Cifar100 => format!("`lfnn-cli data fetch {self}` gets it"),
            DatasetName::TinyImagenet => {
                "unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip in the data folder, or \
                 point `dataset.path` at it"
                    .to_owned()
            }
            DatasetName::Digits => "it is compiled in".to_owned(),
            DatasetName::Folder => {
                "an image folder is your own: train/CLASS/ and test/CLASS/ with image files"
                    .to_owned()
            }
        }
    }

    /// What its folder is, in words.
    pub(crate) fn of_folder(self) -> String {
        match self {
            DatasetName::Folder => "a folder of images".to_owned(),
            _ => format!("the folder of {self}"),
        }
    }

    /// That a folder or file of this data set is not there, or something else in its place.
    pub(crate) fn missing(self, path: &Path, expected: impl fmt::Display) -> DataError {
        let found = match (path.is_dir(), path.exists(), path.is_symlink()) {
            (true, ..) => "it is a folder",
            (_, true, _) => "it is a file",
            (.., true) => "it is a link to nothing",
            _ => "not found",
        };
        DataError::Missing {
            path: path.to_owned(),
            found,
            expected: expected.to_string(),
            hint: self.hint(),
        }
    }

    /// That there is a folder.
    pub(crate) fn need_folder(
        self,
        path: &Path,
        expected: impl fmt::Display,
    ) -> Result<(), DataError> {
        if path.is_dir() { Ok(()) } else { Err(self.missing(path, expected)) }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
            DataError::UnknownDataset {
                found: name.to_owned(),
                expected: Self::ALL.map(Self::as_str).join(", "),
            }
        })
    }
}

/// Ten digits, for MNIST and the embedded digits.
pub(crate) const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Fashion-MNIST's classes.
pub(crate) const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// CIFAR-10's classes.
pub(crate) const CIFAR_10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// CIFAR-100's fine classes.
#[rustfmt::skip]
pub(crate) const CIFAR_100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
    "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox",
    "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
    "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake",
    "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
];
