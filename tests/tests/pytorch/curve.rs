//! Ten training steps in a row: losses, leaders by their effect, and the parameters at the end.

use lfnn_core::backend::Backend;
use lfnn_core::random::{Purpose, Stream, permutation};
use lfnn_core::train::{Images, Labels, Normalization, Setup, State, StateData, Trainer};
use lfnn_cpu::Cpu;
use lfnn_tests::reference::Reference;
use lfnn_tests::under_test::{emulator, gpu, on_emulator};

use crate::case::{Case, names};
use crate::{check_close, check_states};

const STEPS: usize = 10;
const EPOCHS: usize = 2;
const SEED: u64 = 5;

#[test]
fn ten_steps_of_the_reference_backend_agree_with_pytorch() {
    run_all(&Reference, 3e-5);
}

#[test]
fn ten_steps_of_the_cpu_backend_agree_with_pytorch() {
    run_all(&Cpu::new(Some(2)).unwrap(), 2e-4);
}

#[test]
fn ten_steps_of_the_emulated_cuda_backend_agree_with_pytorch() {
    on_emulator(1, || run_all(&emulator(7), 2e-4));
}

#[test]
fn ten_steps_on_a_gpu_agree_with_pytorch() {
    match gpu() {
        Ok(cuda) => run_all(&cuda, 2e-4),
        Err(skipped) => eprintln!("{skipped}"),
    }
}

fn run_all(backend: &dyn Backend, tolerance: f64) {
    let curves: Vec<String> =
        names().into_iter().filter(|name| name.starts_with("curve_")).collect();
    assert!(curves.len() >= 6, "{curves:?}");
    for name in curves {
        check_curve(backend, &Case::load(&name), tolerance);
    }
}

/// The images and targets of an epoch, placed so that the trainer's shuffle brings them back into the
/// order of the file. Images lie on the grid `byte / 64 − 2`.
struct Epoch {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    values: Vec<f32>,
}

impl Epoch {
    fn new(case: &Case, epoch: usize) -> Self {
        let count = STEPS / EPOCHS * case.training.batch_size;
        let stream = Stream::new(Purpose::Shuffle, 0);
        let order = permutation(stream, SEED, epoch as u32, count as u32);
        let [channels, height, width] = case.input;
        let size = channels * height * width;
        let images = &case.get("batches/images").real;
        let target = case.get("batches/target");
        let per_target = target.real.len() / (STEPS * case.training.batch_size);
        let mut pixels = vec![0; count * size];
        let mut labels = vec![0; count];
        let mut values = vec![0.0; count * per_target];
        for (row, &place) in order.iter().enumerate() {
            let (row, place) = (epoch * count + row, place as usize);
            for pixel in 0..height * width {
                for channel in 0..channels {
                    let value = images[row * size + channel * height * width + pixel];
                    let byte = (value + 2.0) * 64.0;
                    assert_eq!(byte, byte.round(), "{}: not a byte", case.name);
                    pixels[place * size + pixel * channels + channel] = byte as u8;
                }
            }
            if target.whole.is_empty() {
                let from = &target.real[row * per_target..][..per_target];
                values[place * per_target..][..per_target].copy_from_slice(from);
            } else {
                labels[place] = target.whole[row];
            }
        }
        Self { pixels, labels, values }
    }

    fn images<'a>(&'a self, case: &Case) -> Images<'a> {
        let [channels, height, width] = case.input;
        let labels = match self.values.as_slice() {
            [] => Labels::Classes(&self.labels),
            values => Labels::Values(values),
        };
        let shape = [height, width, channels];
        Images { pixels: (&self.pixels).into(), labels, shape, classes: case.classes }
    }
}

fn check_curve(backend: &dyn Backend, case: &Case, tolerance: f64) {
    let channels = case.input[0];
    // (byte / 255 − mean) / std = byte / 64 − 2
    let normalization =
        Normalization { mean: vec![128.0 / 255.0; channels], std: vec![64.0 / 255.0; channels] };
    let setup = Setup {
        leadership: case.leadership,
        seed: SEED,
        ..Setup::new(&case.network, &case.training, case.method).normalized_by(normalization)
    };
    let per_epoch = STEPS / EPOCHS;
    let examples: Vec<u32> = (0..(per_epoch * case.training.batch_size) as u32).collect();
    let mut losses = Vec::new();
    let mut state: Option<State> = None;
    for epoch in 0..EPOCHS {
        // The second epoch has other images: a new trainer goes on from the state of the first.
        let data = Epoch::new(case, epoch);
        let mut trainer =
            Trainer::from_images(backend, &setup, data.images(case), &examples).unwrap();
        let mut start = match &state {
            Some(state) => state.clone(),
            None => trainer.state().unwrap(),
        };
        if epoch == 0 {
            replace(&mut start, &case.start());
        }
        trainer.restore(&start).unwrap();
        let mut before = 0.0;
        for _ in 0..per_epoch {
            trainer.train_step().unwrap();
            let metrics = trainer.metrics().unwrap();
            let sum = metrics.loss() * metrics.batches as f64;
            losses.push((sum - before) as f32);
            before = sum;
        }
        trainer.end_epoch().unwrap();
        state = Some(trainer.state().unwrap());
    }
    check_close(case, "curve", &losses, &case.get("expected/curve").real, tolerance);
    let mut end = state.unwrap();
    let expected = case.below("expected/after/");
    end.tensors.retain(|tensor| expected.get(&tensor.name).is_some());
    check_states(case, "expected/after/", &end, tolerance);
}

/// Puts the tensors of `from` in the place of those with the same names.
fn replace(state: &mut State, from: &State) {
    for tensor in &mut state.tensors {
        if let Some(other) = from.get(&tensor.name) {
            assert_eq!(tensor.shape, other.shape);
            let StateData::Real(_) = &tensor.data else { panic!("`{}`", tensor.name) };
            tensor.data = other.data.clone();
        }
    }
}
