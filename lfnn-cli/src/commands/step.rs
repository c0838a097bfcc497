//! `step`: one training step taken apart, for comparison with any other implementation.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use lfnn_core::backend::{Backend, Precision};
use lfnn_core::config::Task;
use lfnn_core::method;
use lfnn_core::model::tensors::to_bytes;
use lfnn_core::program::Role;
use lfnn_core::train::{State, StateData, StateTensor, StepTrace, Target, TraceInput, trace_step};

use crate::backend::BackendArgs;
use crate::checkpoint::read_tensors;
use crate::cli::StepArgs;
use crate::config::{self, StepConfig};
use crate::failure::{Result, Usage};
use crate::files::write_whole;
use crate::format;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// A configuration, weights or a batch that are missing, broken or do not fit each other.
pub(crate) fn command(args: &StepArgs, backend: BackendArgs, output: &Output) -> Result {
    let name = args.config.display().to_string();
    let text = config::read_text(&args.config).usage()?;
    let config: StepConfig = config::read(&text, &name).usage()?;
    let weights = read_weights(&args.weights)?;
    let (images, target) = read_batch(&args.batch, &config)?;
    let device = backend.open(Precision::F32, output)?;
    let seen = trace(&*device.backend, &config, &weights, (&images, &target))?;
    let bytes = to_bytes(&tensors(&seen, &images, &config), None).context("cannot write")?;
    write_whole(&args.out, &bytes)?;
    output.info(&describe(&seen, &config))?;
    output.result(&format!("written: {}", args.out.display()))
}

/// Tensors named like parameters: those with `weights/` before the name if there are any, otherwise
/// those without a `/`; and feedback matrices.
fn read_weights(path: &Path) -> anyhow::Result<State> {
    read_tensors(path, "file of weights", |file| {
        const PREFIX: &str = "weights/";
        let prefixed = file.names().any(|name| name.starts_with(PREFIX));
        let mut tensors = Vec::new();
        for mut tensor in file.all()? {
            let role = Role::of_saved(&tensor.name);
            let name = match prefixed {
                _ if role == Some(Role::Feedback) => Some(tensor.name.as_str()),
                true => tensor.name.strip_prefix(PREFIX),
                // A checkpoint holds the optimiser and counters, and how pixels are normalised.
                false => (role == Some(Role::Parameter)).then_some(tensor.name.as_str()),
            };
            if let Some(name) = name.map(str::to_owned) {
                tensor.name = name;
                tensors.push(tensor);
            }
        }
        Ok(State { tensors })
    })
}

/// The tensors `images` and `target`.
fn read_batch(path: &Path, config: &StepConfig) -> anyhow::Result<(StateTensor, StateTensor)> {
    read_tensors(path, "batch", |file| {
        let get = |name: &str| {
            let prefixed = format!("batch/{name}");
            let is_prefixed = file.names().any(|name| name == prefixed);
            file.get(if is_prefixed { &prefixed } else { name })
        };
        let (images, target) = (get("images")?, get("target")?);
        if let Some(input) = &config.input
            && images.shape.get(1..) != Some(input)
        {
            bail!("images of shape {:?}, but `input` is {input:?}", images.shape);
        }
        Ok((images, target))
    })
}

/// Does the step.
fn trace(
    backend: &dyn Backend,
    config: &StepConfig,
    weights: &State,
    (images, target): (&StateTensor, &StateTensor),
) -> Result<StepTrace> {
    let StateData::Real(pixels) = &images.data else {
        return Err(anyhow!("the batch's `images` hold whole numbers; expected real ones").into());
    };
    let labels: Vec<u32>;
    let target = match (&target.data, config.network.task) {
        (StateData::Real(values), Task::Regression) => Target::Values(values),
        (StateData::U32(values), _) => Target::Labels(values),
        (StateData::Real(values), _) => {
            labels = whole(values)?;
            Target::Labels(&labels)
        }
    };
    let method = method::by_name(&config.method)
        .with_context(|| format!("there is no method `{}`", config.method))
        .usage()?;
    let input = TraceInput {
        network: &config.network,
        leadership: config.leadership,
        label_smoothing: config.training.as_ref().map_or(0.0, |t| t.label_smoothing),
        class_weights: config.training.as_ref().and_then(|t| t.class_weights.as_ref()),
        directions: config.training.as_ref().map_or(1, |t| t.directions),
        method,
        seed: config.seed,
        classes: config.classes,
        images: pixels,
        shape: &images.shape,
        target,
    };
    Ok(trace_step(backend, &input, weights)?)
}

/// Labels that were saved as real numbers.
fn whole(values: &[f32]) -> anyhow::Result<Vec<u32>> {
    let label = |&value: &f32| {
        let label = value as u32;
        if label as f32 == value { Ok(label) } else { bail!("the label {value} is not whole") }
    };
    values.iter().map(label).collect()
}

/// What the step computed, as tensors of the file that is written.
fn tensors(seen: &StepTrace, images: &StateTensor, config: &StepConfig) -> Vec<StateTensor> {
    let real = |name: String, shape: Vec<usize>, data: Vec<f32>| StateTensor {
        name,
        shape,
        data: StateData::Real(data),
    };
    let batch = images.shape.first().copied().unwrap_or(1).max(1);
    let nets = if config.network.task == Task::OneVsAll { config.classes } else { 1 };
    let mut all = vec![
        real("logits".into(), vec![batch, seen.logits.len() / batch], seen.logits.clone()),
        real("output.loss".into(), vec![1], vec![seen.loss as f32]),
    ];
    for unit in &seen.units {
        let name = |what: &str| format!("unit{}.{what}", unit.unit);
        let workers = unit.worker_losses.len().max(1);
        all.push(real(name("errors"), vec![unit.worker_losses.len()], unit.worker_losses.clone()));
        let rows = unit.leaders.len() / workers;
        all.push(real(name("leaders"), vec![rows, workers], unit.leaders.clone()));
        all.push(StateTensor {
            name: name("best"),
            shape: vec![unit.best.len() / nets.max(1), nets],
            data: StateData::U32(unit.best.clone()),
        });
        all.push(real(name("leader_loss"), vec![1], vec![unit.leader_loss as f32]));
        all.push(real(name("follower_loss"), vec![1], vec![unit.follower_loss as f32]));
    }
    for (folder, state) in [
        ("gradients", &seen.gradients),
        ("buffers", &seen.buffers),
        ("directions", &seen.directions),
        ("feedback", &seen.feedback),
    ] {
        all.extend(state.tensors.iter().map(|tensor| StateTensor {
            name: format!("{folder}/{}", tensor.name),
            ..tensor.clone()
        }));
    }
    all
}

/// The step in a few lines.
fn describe(seen: &StepTrace, config: &StepConfig) -> String {
    let mut text = format!("{}: global loss {:.6}\n", config.method, seen.loss);
    for unit in &seen.units {
        let best = unit.worker_losses.iter().copied().fold(f32::INFINITY, f32::min);
        text += &format!(
            "unit {}: {} workers, lowest loss {best:.6}, leader loss {:.6}, follower \
             loss {:.6}\n",
            unit.unit,
            unit.worker_losses.len(),
            unit.leader_loss,
            unit.follower_loss
        );
    }
    let gradients = seen.gradients.tensors.len();
    text + &format!("gradients of {} parameter tensors\n", format::count(gradients))
}
