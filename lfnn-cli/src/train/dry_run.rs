//! `--dry-run`: the network unit by unit, and the memory of a step beside backpropagation's.

use lfnn_core::config::{ConfigError, Scope};
use lfnn_core::layer::Perturbation;
use lfnn_core::method::{self, Gradient, Method};
use lfnn_core::network::Network;
use lfnn_core::program::{Part, ProgramSet};
use lfnn_core::train::{MemoryEstimate, Normalization, Setup, StepProgram};
use lfnn_core::unit::Unit;
use lfnn_cpu::Cpu;
use lfnn_data::DataError;

use crate::backend::BackendKind;
use crate::config::RunConfig;
use crate::data::{DataShape, outputs};
use crate::failure::{Failure, Usage};
use crate::format::{self, Align, table};
use crate::output::Output;
use crate::resolved::{ResolvedRun, Resources};

#[cfg(feature = "cuda")]
use super::device_memory;

/// Prints the network and the memory of a step.
///
/// # Errors
/// A network that cannot be built.
pub(crate) fn show(run: &ResolvedRun, output: &Output) -> Result<(), Failure> {
    let config = &run.config;
    let shape = run.data_shape(output)?;
    let training = examples(config, shape)?;
    run.resources.backend.check(config.precision)?;
    let method = config.method();
    setup(config, shape, method).validate(training).usage()?;
    let network =
        Network::new(&mut ProgramSet::new(), &config.network, &shape.image, shape.classes);
    let network = network.usage()?;
    let step = step_program(config, shape, method).usage()?;
    output.result(&format!(
        "{} · {}: {}\n{}: {}s {}, {}, {} to train on, {} held out\n\n{}\n{}\n{}",
        config.label(),
        config.method,
        method.summary,
        config.dataset.label(),
        config.dataset.name.kind().example(),
        described_shape(shape.image),
        outputs(config, shape.classes),
        format::count(training),
        format::count(config.dataset.validation),
        units(config, &network),
        gradient_depth(config, &network, &step),
        memory(run, shape, &step)?,
    ))?;
    #[cfg(feature = "cuda")]
    if let BackendKind::Cuda(_) = run.resources.backend.kind {
        let (setup, streams) = (setup(config, shape, method), run.resources.backend.streams);
        let text = device_memory::predict(&setup, shape, config.precision, streams, training)?;
        output.result(&format!("\n{text}"))?;
    }
    Ok(())
}

/// Extents of an image, or the features of a row.
fn described_shape(shape: [usize; 3]) -> String {
    match shape {
        [1, 1, features] => format!("of {}", format::number_of(features, "feature")),
        shape => format::shape(&shape),
    }
}

/// How many images are trained on: those that are not held out. Without the images the split cannot be made, so what
/// it refuses is refused here.
fn examples(config: &RunConfig, shape: DataShape) -> Result<usize, DataError> {
    let (found, available) = (config.dataset.validation, shape.train);
    match available.checked_sub(found) {
        Some(rest) if rest > 0 => Ok(rest),
        _ => Err(DataError::HoldOut { found, available }),
    }
}

/// A line for each unit, the output layer and the sums, and below them the layers of each.
fn units(config: &RunConfig, network: &Network) -> String {
    let heads = [
        ["", "", "", "", "gradient", "", "head"],
        ["unit", "output", "workers", "leaders", "depth", "parameters", "parameters"],
    ];
    let mut lines: Vec<Vec<String>> = heads.map(|head| head.map(str::to_owned).to_vec()).to_vec();
    let mut described = vec![vec!["unit".to_owned(), "layers".to_owned()]];
    let mut describe = |unit: &str, layers: &str| {
        for (line, text) in wrap(layers).into_iter().enumerate() {
            let unit = if line == 0 { unit } else { "" };
            described.push(vec![unit.to_owned(), text]);
        }
    };
    let has_leaders = config.method().workers.have_leaders();
    let counts = network.parameter_counts_by_part();
    let count_of = |part: Part| counts.get(&part).copied().unwrap_or_default();
    for unit in network.units() {
        let (parameters, head_parameters) = count_of(Part::Unit(unit.number()));
        let predictions = unit.predictions();
        let classifiers = if predictions.classifiers > 1 {
            format!("{} classifiers × ", predictions.classifiers)
        } else {
            String::new()
        };
        let leaders = if unit.is_frozen() {
            "frozen".into()
        } else if has_leaders {
            config.leadership.leaders(predictions.workers).to_string()
        } else {
            "–".into()
        };
        lines.push(vec![
            unit.number().to_string(),
            format::shape(unit.output_shape()),
            format!("{classifiers}{} {}", predictions.workers, unit.kind()),
            leaders,
            (if config.method().local { unit.local_depth() } else { unit.depth() }).to_string(),
            format::count(parameters),
            format::count(head_parameters),
        ]);
        describe(&unit.number().to_string(), &layers(unit));
    }
    let output = network.output();
    let (parameters, _) = count_of(Part::Output);
    lines.push(vec![
        "out".into(),
        output.predictions().features().to_string(),
        "–".into(),
        "–".into(),
        output.depth().to_string(),
        format::count(parameters),
        "0".into(),
    ]);
    describe("out", &output.describe());
    let (parameters, head_parameters) = network.parameter_counts();
    let mut sums = vec![String::new(); 7];
    sums[0] = "sum".into();
    sums[5] = format::count(parameters);
    sums[6] = format::count(head_parameters);
    lines.push(sums);
    let right = Align::Right;
    let left = Align::Left;
    let note = match (has_leaders, config.leadership.scope) {
        (false, _) => String::new(),
        (true, scope) => {
            let when = match scope {
                Scope::Batch => "every batch",
                Scope::Epoch => "every epoch",
                Scope::Sample => "every sample",
            };
            format!("delta {}: leaders are chosen for {when}", config.leadership.delta)
        }
    };
    let units = table(&[right, left, left, right, right, right, right], &lines);
    format!("{units}\n{}\n{note}", table(&[right, left], &described))
}

/// The layers of a unit, how its workers predict, and what follows them.
fn layers(unit: &Unit) -> String {
    let mut text = unit.describe_layers();
    for (word, part) in [
        ("predict by", unit.describe_heads()),
        ("match similarity of", unit.describe_similarity()),
        ("transition", unit.describe_transition()),
    ] {
        if !part.is_empty() {
            text += &format!("; {word} {part}");
        }
    }
    text
}

/// A list in lines that fit beside the number of a unit.
fn wrap(text: &str) -> Vec<String> {
    const WIDTH: usize = 74;
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let fits = |line: &String| line.chars().count() + word.trim_end().chars().count() <= WIDTH;
        match lines.last_mut() {
            Some(line) if fits(line) => line.push_str(word),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How many layers with weights a gradient, or the derivative of a forward gradient, crosses, and how finely that is
/// divided.
fn gradient_depth(config: &RunConfig, network: &Network, step: &StepProgram) -> String {
    let method = config.method();
    let mut text = crossed(method, network);
    let Gradient::Forward(Perturbation::Outputs { .. }) = method.gradient else { return text };
    let mut counts: Vec<([usize; 3], usize)> = Vec::new();
    for parts in step.derivatives() {
        match counts.iter_mut().find(|(of, _)| *of == parts) {
            Some((_, count)) => *count += 1,
            None => counts.push((parts, 1)),
        }
    }
    for ([examples, positions, groups], count) in counts {
        let example = config.dataset.name.kind().example();
        let mut of = if examples > 1 { format!("each {example}") } else { "the batch".to_owned() };
        for (number, name) in [(positions, "positions"), (groups, "groups of channels")] {
            if number > 1 {
                of += &format!(" × {number} {name}");
            }
        }
        text +=
            &format!("{}: a derivative for {of}\n", format::number_of(count, "perturbed output"));
    }
    text
}

fn crossed(method: &Method, network: &Network) -> String {
    let from_first_trained = network.units().iter().skip_while(|unit| unit.is_frozen());
    let all: usize = from_first_trained.map(Unit::depth).sum();
    let output = network.output().depth();
    let (what, carried) = match method.gradient {
        Gradient::Backward | Gradient::Direct => ("gradient depth", "gradient"),
        Gradient::Forward(_) => ("derivative depth, forwards", "derivative"),
    };
    let trained = network.units().iter().filter(|unit| !unit.is_frozen());
    if method.gradient == Gradient::Direct {
        let longest = trained.map(Unit::depth).max().unwrap_or(0).max(output);
        return format!(
            "{what}: at most {} with weights, inside a unit;\n\
             a fixed matrix carries the error of the output layer to each unit\n",
            format::number_of(longest, "layer")
        );
    }
    if !method.local {
        let through = all + output;
        return format!(
            "{what}: {through} layers with weights; the global {carried} crosses every unit\n"
        );
    }
    let longest = trained.clone().map(Unit::local_depth).max().unwrap_or(0).max(output);
    let kind = match trained.map(Unit::depth).max().unwrap_or(0).max(output) {
        1 if longest == 1 => " (layer-wise);\n",
        1 => "\n(layer-wise, with layers in the heads); ",
        _ => " (block-wise);\n",
    };
    format!(
        "{what}: at most {} with weights, inside a unit{kind}\
         none crosses from unit to unit\n",
        format::number_of(longest, "layer")
    )
}

/// The step that would be trained, with a normalisation that any image fits.
fn setup<'a>(config: &'a RunConfig, shape: DataShape, method: &'static Method) -> Setup<'a> {
    let channels = shape.image[2];
    let normalization = Normalization { mean: vec![0.0; channels], std: vec![1.0; channels] };
    Setup { method, ..super::setup(config, &normalization) }
}

/// The step of a method.
fn step_program(
    config: &RunConfig,
    shape: DataShape,
    method: &'static Method,
) -> Result<StepProgram, ConfigError> {
    StepProgram::new(&setup(config, shape, method), shape.image, shape.classes)
}

/// The memory of a step with this method and with backpropagation: on the CPU as its backend plans it, and where a GPU
/// is asked for, whose own plan follows, of the operations one by one.
fn memory(run: &ResolvedRun, shape: DataShape, step: &StepProgram) -> Result<String, Failure> {
    let ResolvedRun { config, resources: Resources { backend, .. } } = run;
    let cpu = match backend.kind {
        BackendKind::Cuda(_) => None,
        BackendKind::Cpu | BackendKind::Auto => {
            Some(Cpu::new(backend.threads).map_err(anyhow::Error::from)?)
        }
    };
    let estimate = |step: &StepProgram| -> MemoryEstimate {
        let planned = cpu.as_ref().map(|cpu| cpu.planned_bytes(&step.set));
        planned.map_or_else(|| step.memory(), |bytes| step.memory_with(bytes))
    };
    let mut columns = vec![(config.method.as_str(), estimate(step))];
    if config.method != "bp"
        && let Some(bp) = method::by_name("bp")
    {
        // It trains no workers that could vote.
        let mut alone = config.clone();
        alone.network.output.ensemble = 0;
        columns.push(("bp", estimate(&step_program(&alone, shape, bp).usage()?)));
    }
    let mut lines = Vec::new();
    let on = cpu.map_or_else(String::new, |cpu| {
        format!(", {}", format::number_of(cpu.threads(), "thread"))
    });
    let mut head = vec![format!("memory, batches of {}{on}", config.training.batch_size)];
    head.extend(columns.iter().map(|(name, _)| (*name).to_owned()));
    lines.push(head);
    let mut line = |name: &str, of: fn(&MemoryEstimate) -> usize| {
        let mut cells = vec![name.to_owned()];
        cells.extend(columns.iter().map(|(_, estimate)| format::bytes(of(estimate))));
        lines.push(cells);
    };
    line("parameters and buffers", |estimate| estimate.parameters);
    line("optimiser", |estimate| estimate.optimizer);
    line("activations, gradients", |estimate| estimate.step);
    line("sum", |estimate| estimate.parameters + estimate.optimizer + estimate.step);
    let align = [Align::Left, Align::Right, Align::Right];
    Ok(table(&align[..=columns.len()], &lines)
        + &format!(
            "training {}s, in addition: {}\n",
            config.dataset.name.kind().example(),
            format::bytes(shape.bytes(shape.train))
        ))
}
