//! MNIST (LeCun et al. 1998): handwritten digits, 28×28, grey. The checksums are those of TensorFlow Datasets.

use super::digits;
use crate::ImageShape;
use crate::declaration::{DatasetSize, Declaration, Origin};
use crate::idx::Idx;
use crate::published::{Published, file};

pub(super) static DATASET: Declaration = Declaration {
    name: "mnist",
    origin: Origin::Download { folder: "mnist", files: &FILES },
    size: Some(DatasetSize { shape: ImageShape { height: 28, width: 28, channels: 1 }, classes: 10, train: 60_000, test: 10_000 }),
    reader: &Idx { classes: &digits::CLASSES },
};

#[rustfmt::skip]
static FILES: Published = Published {
    mirrors: &[
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ],
    downloads: &[
        file("train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        file("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        file("t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        file("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
    plain: &[
        file("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        file("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        file("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        file("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ],
};
