//! The data sets known by name. Each is declared in a file of its own and registered here in one line.

use std::fmt;
use std::str::FromStr;

use crate::DataError;
use crate::declaration::{DataKind, DatasetSize, Declaration, Origin};

/// Registers data sets, in the order in which they are listed to a user.
macro_rules! datasets {
    ($($variant:ident: $module:ident, $summary:literal;)*) => {
        $(mod $module;)*

        /// A data set's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DatasetName {
            $(#[doc = $summary] $variant,)*
        }

        impl DatasetName {
            /// Every name, in the order they are listed to a user.
            pub const ALL: [DatasetName; [$($summary),*].len()] = [$(DatasetName::$variant),*];

            pub(crate) fn declaration(self) -> &'static Declaration {
                match self {
                    $(DatasetName::$variant => &$module::DATASET,)*
                }
            }
        }
    };
}

datasets! {
    Digits: digits, "8×8 handwritten digits (UCI), compiled into this crate.";
    Mnist: mnist, "Handwritten digits, 28×28, grey.";
    FashionMnist: fashion_mnist, "Articles of clothing, 28×28, grey.";
    Cifar10: cifar_10, "Ten kinds of things, 32×32, colour.";
    Cifar100: cifar_100, "A hundred kinds of things, 32×32, colour.";
    TinyImagenet: tiny_imagenet, "Two hundred classes of ImageNet, 64×64, colour.";
    Folder: folder, "Any folder of images, a folder for each class.";
    Table: table, "Any CSV or TSV file, an example in each row.";
    Arrays: arrays, "Any NumPy or safetensors arrays of inputs and targets.";
}

impl DatasetName {
    /// The name as it is written in a configuration.
    pub fn as_str(self) -> &'static str {
        self.declaration().name
    }

    /// The usual name of its folder below the data folder; none for what is compiled in and for a user's own data,
    /// which has a path of its own.
    pub fn folder(self) -> Option<&'static str> {
        self.declaration().folder()
    }

    /// How a user gets the data set: the end of a message that says it is not there.
    pub fn hint(self) -> String {
        self.declaration().hint()
    }

    /// Image shape, classes and images; none for data of the user's own.
    pub fn size(self) -> Option<DatasetSize> {
        self.declaration().size
    }

    /// Whether it has no files: it is compiled in.
    pub fn is_embedded(self) -> bool {
        matches!(self.declaration().origin, Origin::Embedded)
    }

    /// Whether it is a file or folder of the user's, whose path must be given.
    pub fn needs_path(self) -> bool {
        matches!(self.declaration().origin, Origin::Path { .. })
    }

    /// Whether it has images of any size, which can be resized.
    pub fn is_resized(self) -> bool {
        self.needs_path() && self.kind() == DataKind::Images
    }

    /// What its examples are.
    pub fn kind(self) -> DataKind {
        match self.declaration().origin {
            Origin::Path { kind, .. } => kind,
            _ => DataKind::Images,
        }
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
