//! Fashion-MNIST (Xiao et al. 2017): articles of clothing, 28×28, grey. The checksums are those of TensorFlow Datasets.

use crate::ImageShape;
use crate::declaration::{DatasetSize, Declaration, Origin};
use crate::idx::Idx;
use crate::published::{Published, file, without_checksum};

pub(super) static DATASET: Declaration = Declaration {
    name: "fashion-mnist",
    origin: Origin::Download { folder: "fashion-mnist", files: &FILES },
    size: Some(DatasetSize { shape: ImageShape { height: 28, width: 28, channels: 1 }, classes: 10, train: 60_000, test: 10_000 }),
    reader: &Idx { classes: &CLASSES },
};

const CLASSES: [&str; 10] = [
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

#[rustfmt::skip]
static FILES: Published = Published {
    mirrors: &[
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ],
    downloads: &[
        file("train-images-idx3-ubyte.gz", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        file("train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        file("t10k-images-idx3-ubyte.gz", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        file("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
    plain: &[
        without_checksum("train-images-idx3-ubyte", 47_040_016),
        without_checksum("train-labels-idx1-ubyte", 60_008),
        without_checksum("t10k-images-idx3-ubyte", 7_840_016),
        without_checksum("t10k-labels-idx1-ubyte", 10_008),
    ],
};
