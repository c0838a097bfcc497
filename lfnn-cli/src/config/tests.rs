//! Tests that what is written is read back, and that any text is read or refused.

use super::{RunConfig, read};

#[test]
fn a_configuration_is_read_as_it_was_written() {
    for name in crate::recipes::names() {
        let config: RunConfig = read(crate::recipes::text(name).unwrap(), name).unwrap();
        let again: RunConfig = read(&config.to_yaml().unwrap(), name).unwrap();
        assert_eq!(config, again, "{name}");
    }
}

#[test]
fn odd_texts_and_numbers_survive() {
    let text = crate::recipes::text("digits").unwrap();
    let mut config: RunConfig = read(text, "digits").unwrap();
    for path in ["1e3", "true", "null", "", " a: b #c", "- x", "'\"\\\n\t", "日本", "C:\\data", "~"]
    {
        config.dataset.path = Some(path.into());
        config.recipe = Some(path.into());
        config.seed = u64::MAX;
        config.training.label_smoothing = 1e-300;
        let again: RunConfig = read(&config.to_yaml().unwrap(), "again").unwrap();
        assert_eq!(config, again, "{path:?}");
    }
}

/// Writes a configuration with these numbers and reads it again.
fn written_and_read(seed: u64, number: f64) -> (u64, f64, f64) {
    let text = crate::recipes::text("digits").unwrap();
    let mut config: RunConfig = read(text, "digits").unwrap();
    config.seed = seed;
    config.training.label_smoothing = number;
    config.leadership.lambda = number;
    let again: RunConfig = read(&config.to_yaml().unwrap(), "again").unwrap();
    (again.seed, again.training.label_smoothing, again.leadership.lambda)
}

#[test]
fn numbers_at_the_ends_of_their_types_survive_to_the_last_bit() {
    for seed in [0, 1 << 53, (1 << 53) + 1, i64::MAX as u64, 1 << 63, (1 << 63) + 1, u64::MAX] {
        assert_eq!(written_and_read(seed, 0.0).0, seed);
    }
    for number in [
        0.0,
        -0.0,
        5e-324,
        -5e-324,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        1e16,
        1e21,
        0.1,
        1.0,
        9007199254740993.0,
    ] {
        let (_, one, other) = written_and_read(1, number);
        assert_eq!(
            (one.to_bits(), other.to_bits()),
            (number.to_bits(), number.to_bits()),
            "{number:e}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_number_survives_to_the_last_bit(
        seed in proptest::prelude::any::<u64>(),
        bits in proptest::prelude::any::<u64>(),
    ) {
        let number = f64::from_bits(bits);
        proptest::prop_assume!(number.is_finite());
        let (read_seed, one, other) = written_and_read(seed, number);
        proptest::prop_assert_eq!(read_seed, seed);
        proptest::prop_assert_eq!((one.to_bits(), other.to_bits()), (bits, bits));
    }

    #[test]
    fn random_text_is_read_or_refused_without_a_panic(text in "\\PC{0,120}") {
        let _ = read::<RunConfig>(&text, "test");
    }

    #[test]
    fn a_recipe_with_random_changes_is_read_or_refused_without_a_panic(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        with in "[\\[\\]{}:,&*!|>'\"%@`#\\- \\n\\ta-z0-9]{0,6}",
    ) {
        let mut text = crate::recipes::text("tiny-imagenet").unwrap().to_owned();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.insert_str(at, &with);
        let _ = read::<RunConfig>(&text, "test");
    }
}
