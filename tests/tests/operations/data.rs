//! Gathering a batch, and the step counter.

use lfnn_core::program::{AdvanceStepCounter, Augment, DType, LoadImages, LoadLabels, LoadValues};
use lfnn_core::random::{Purpose, Stream};
use lfnn_tests::compare::Tolerance;
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

/// A product and a sum of numbers of the size of 4 that may cancel.
const NORMALIZED: Tolerance = Tolerance { element: 3e-7, tensor: 0.0, absolute: 1e-6 };

#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) images: usize,
    pub(crate) image: [usize; 3],
    /// Whether the data set is of real numbers, and not of bytes.
    pub(crate) real: bool,
    pub(crate) batch: usize,
    pub(crate) step: u32,
    /// Padding, flip and cutout.
    pub(crate) augment: Option<(usize, bool, usize)>,
    pub(crate) seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let image = (1usize..10, 1usize..10, 1usize..4).prop_map(|(h, w, c)| [h, w, c]);
    let augment = prop::option::of((0usize..5, any::<bool>(), 0usize..7));
    (1usize..20, image, any::<bool>(), 1usize..7, 0u32..4, augment, any::<u64>()).prop_map(
        |(images, image, real, batch, step, augment, seed)| Shape {
            images,
            image,
            real,
            batch,
            step,
            augment,
            seed,
        },
    )
}

/// An order with more entries than count, and a count that the batch may pass.
fn order_and_counter(case: &mut Case, shape: &Shape) -> [lfnn_core::program::TensorId; 2] {
    let entries = 1 + case.source.index(2 * shape.images);
    let count = 1 + case.source.index(entries);
    let order = case.whole_below("order", &[entries], shape.images as u32);
    let epoch = case.source.below(4);
    [order, case.counter(epoch, shape.step, count as u32)]
}

pub(crate) fn images(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let [order, counter] = order_and_counter(&mut case, &shape);
    let [height, width, channels] = shape.image;
    let stored = [shape.images, height, width, channels];
    let pixels = if shape.real {
        case.input("pixels", &stored)
    } else {
        let length = stored.iter().product::<usize>();
        let pixels = (0..length).map(|_| case.source.below(256) as u8).collect();
        case.bytes("pixels", &stored, pixels)
    };
    let stream = Stream::new(Purpose::Augment, case.source.below(1 << 24));
    let op = LoadImages {
        pixels,
        order,
        counter,
        scale: case.input_between("scale", &[channels], 0.5, 4.0),
        shift: case.input_between("shift", &[channels], -3.0, 0.0),
        x: case.output("x", &[shape.batch, height, width, channels]),
        augment: shape.augment.map(|(padding, flip, cutout)| Augment {
            padding,
            flip,
            cutout,
            stream,
        }),
    };
    case.push(op);
    case.agrees(NORMALIZED)
}

pub(crate) fn labels(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let [order, counter] = order_and_counter(&mut case, &shape);
    let labels = case.whole_below("labels", &[shape.images], 1000);
    let target = case.output_of("target", DType::U32, &[shape.batch]);
    case.push(LoadLabels { labels, order, counter, target });
    case.agrees(Tolerance::EXACT)
}

pub(crate) fn values(shape: Shape) -> Result<(), String> {
    let mut case = Case::new(shape.seed);
    let [order, counter] = order_and_counter(&mut case, &shape);
    let n = 1 + shape.seed as usize % 5;
    let values = case.input("values", &[shape.images, n]);
    let target = case.output("target", &[shape.batch, n]);
    case.push(LoadValues { values, order, counter, target });
    case.agrees(Tolerance::EXACT)
}

#[test]
fn images_are_gathered_and_changed_as_drawn() {
    property(512, shapes(), images);
}

#[test]
fn labels_are_gathered() {
    property(256, shapes(), labels);
}

#[test]
fn values_are_gathered() {
    property(256, shapes(), values);
}

#[test]
fn the_step_counter_advances() {
    property(64, (0u32..9, 0u32..9, 1usize..4, any::<u64>()), |(epoch, step, runs, seed)| {
        let mut case = Case::new(seed);
        case.runs = runs;
        let counter = case.counter(epoch, step, 100);
        case.push(AdvanceStepCounter { counter });
        case.agrees(Tolerance::EXACT)
    });
}

properties! {
    images_are_gathered_and_changed_as_drawn of LoadImages, narrow;
    labels_are_gathered of LoadLabels;
    values_are_gathered of LoadValues;
    the_step_counter_advances of AdvanceStepCounter;
}
