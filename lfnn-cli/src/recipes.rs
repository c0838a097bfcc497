//! The recipes inside the program.

/// Name and text of each recipe, in the order in which they are listed.
const RECIPES: [(&str, &str); 20] = [
    ("digits", include_str!("../recipes/digits.yaml")),
    ("mnist-s", include_str!("../recipes/mnist-s.yaml")),
    ("mnist-m", include_str!("../recipes/mnist-m.yaml")),
    ("mnist-s-filters", include_str!("../recipes/mnist-s-filters.yaml")),
    ("mnist-s-heads", include_str!("../recipes/mnist-s-heads.yaml")),
    ("mnist-m-filters", include_str!("../recipes/mnist-m-filters.yaml")),
    ("mnist-block", include_str!("../recipes/mnist-block.yaml")),
    ("mnist-fc", include_str!("../recipes/mnist-fc.yaml")),
    ("mnist-mlp", include_str!("../recipes/mnist-mlp.yaml")),
    ("mnist-permuted-ova", include_str!("../recipes/mnist-permuted-ova.yaml")),
    ("localmixer-s", include_str!("../recipes/localmixer-s.yaml")),
    ("localmixer-m", include_str!("../recipes/localmixer-m.yaml")),
    ("cifar10-m", include_str!("../recipes/cifar10-m.yaml")),
    ("cifar10-m-heads", include_str!("../recipes/cifar10-m-heads.yaml")),
    ("cifar10-m-filters", include_str!("../recipes/cifar10-m-filters.yaml")),
    ("cifar10-block", include_str!("../recipes/cifar10-block.yaml")),
    ("localmixer-cifar10", include_str!("../recipes/localmixer-cifar10.yaml")),
    ("tiny-imagenet", include_str!("../recipes/tiny-imagenet.yaml")),
    ("tiny-imagenet-workers", include_str!("../recipes/tiny-imagenet-workers.yaml")),
    ("imagenet-subset", include_str!("../recipes/imagenet-subset.yaml")),
];

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// The YAML of a recipe.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    RECIPES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What a recipe says of itself: the comment at its head, as one line.
pub(crate) fn about(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
    lines.join(" ")
}
