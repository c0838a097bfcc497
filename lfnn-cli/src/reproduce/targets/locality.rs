//! Locality: on whose parameters the gradient of each unit depends, proved on the program of a training
//! step and seen in the bits that it computes.

use std::collections::BTreeSet;

use lfnn_core::layer::Parameter;
use lfnn_core::method::{by_name, names};
use lfnn_core::network::Network;
use lfnn_core::program::{Part, influences};
use lfnn_core::random::{philox, unit as unit_interval};
use lfnn_core::train::{State, StateData, StepProgram, Target as Targets, TraceInput, trace_step};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Session, Task};
use super::super::report::Report;
use super::super::runner::Results;
use super::Target;
use crate::chart::{Axis, Mark, Panel, Shape};
use crate::config::RunConfig;
use crate::data::LoadedData;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::page::{Cell, Table};
use crate::resolved::ResolvedRun;
use crate::train::setup;

pub(super) const LOCALITY: Target = Target {
    name: "locality",
    about: "on whose parameters the gradient of each unit depends, for all methods",
    title: "Locality: what each gradient depends on",
    quick: "",
    text: "Every parameter of one unit is changed a little, and the gradients of all units for one batch are \
           compared before and after. A number is the size of the change relative to the gradient; “same” means that \
           not one bit changed. A search backwards through the reads and writes of the training step predicts where \
           nothing can change: without a path from the parameters to the gradient, the bits must be the same, and a \
           changed bit would be reported as a fault. Earlier units are to the left of the diagonal: every later unit \
           reads their outputs. Later units are to the right, dark: a gradient that depends on them was passed back \
           through them. A local method has none.",
    has_parts: false,
    plan: |request| {
        let task = |method| Ok(Task::Compute(computation(request, method)?));
        names().into_iter().map(task).collect()
    },
    report,
};

/// A method's dependence: rows are gradients, columns the parameters that were changed.
#[derive(Debug, Serialize, Deserialize)]
struct Dependence {
    /// Names of rows and columns.
    groups: Vec<String>,
    /// Whether the program has any path from the parameters to the gradient.
    path: Vec<Vec<bool>>,
    /// Whether any bit of the gradient changed.
    changed: Vec<Vec<bool>>,
    /// ‖change of the gradient‖ / ‖gradient‖.
    change: Vec<Vec<f64>>,
}

fn id(request: &ReproduceRequest, method: &str) -> String {
    format!("locality-{}-{method}", recipe(request))
}

fn recipe(request: &ReproduceRequest) -> &'static str {
    if request.is_paper() { "mnist-s" } else { "digits" }
}

fn computation(request: &ReproduceRequest, method: &str) -> Result<Computation> {
    let mut config = request.training(recipe(request), method, 1).leaders(70).config()?;
    // A batch says as much as an epoch.
    config.training.epochs = 1;
    let mut few = config.clone();
    few.limits.batches = Some(2);
    let again = config.network.units.len() as f64 + 2.0;
    Ok(Computation {
        trial: Computation::trial(few, again / 2.0),
        ..Computation::of_run(id(request, method), config, json!({}), again, measure)?
    })
}

fn measure(run: &ResolvedRun) -> Result<Dependence> {
    let session = Session::open(run)?;
    let (config, data, trainer) = (session.config, &session.data, session.trainer()?);
    let weights = parameters(trainer.network(), trainer.state()?);
    let groups = groups(trainer.network());
    let path = paths(config, data)?;
    let batch = Batch::new(config, data);
    let gradients = |weights: &State| -> Result<State> {
        let input = TraceInput {
            network: &config.network,
            leadership: config.leadership,
            label_smoothing: config.training.label_smoothing,
            class_weights: config.training.class_weights.as_ref(),
            directions: config.training.directions,
            method: config.method(),
            seed: config.seed,
            classes: data.target.names().len(),
            images: &batch.images,
            shape: &batch.shape,
            target: Targets::Labels(&batch.labels),
        };
        Ok(trace_step(session.backend(), &input, weights)?.gradients)
    };
    let before = gradients(&weights)?;
    let count = groups.len();
    let mut changed = vec![vec![false; count]; count];
    let mut change = vec![vec![0.0; count]; count];
    for column in 0..count {
        interrupt::check()?;
        let after = gradients(&disturbed(&weights, groups[column].1))?;
        for (row, &(_, group)) in groups.iter().enumerate() {
            let (old, new) = (of_group(&before, group), of_group(&after, group));
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            changed[row][column] = bits(&old) != bits(&new);
            change[row][column] = distance(&old, &new);
        }
    }
    let groups = groups.into_iter().map(|(name, _)| name).collect();
    Ok(Dependence { groups, path, changed, change })
}

/// Hidden units and the output layer: a name for people, and the parameters.
fn groups(network: &Network) -> Vec<(String, &[Parameter])> {
    let groups = network.parameters().chunk_by(|one, next| one.part == next.part);
    let name = |part: Part| match part {
        Part::Unit(number) => format!("unit {number}"),
        _ => "output".to_owned(),
    };
    groups.map(|group| (name(group[0].part), group)).collect()
}

/// The parameter of a group with this name.
fn find<'a>(group: &'a [Parameter], name: &str) -> Option<&'a Parameter> {
    group.iter().find(|parameter| parameter.tensor.name == name)
}

/// Parameters and buffers of a state, without what training adds.
fn parameters(network: &Network, mut state: State) -> State {
    let names: BTreeSet<&str> =
        network.parameters().iter().map(|parameter| &parameter.tensor.name[..]).collect();
    state.tensors.retain(|tensor| names.contains(&tensor.name[..]));
    state
}

/// For each gradient, from which group's parameters the program has a path to it.
fn paths(config: &RunConfig, data: &LoadedData) -> Result<Vec<Vec<bool>>> {
    let classes = data.target.names().len();
    let step = StepProgram::new(&setup(config, &data.normalization), data.shape(), classes)
        .map_err(|error| Failure::Usage(error.into()))?;
    let program = &step.set.programs()[step.program.0];
    let groups: Vec<_> = step.parameters.chunk_by(|one, next| one.part == next.part).collect();
    let has = |group: &[Parameter], id| group.iter().any(|parameter| parameter.id == id);
    let row = |group: &&[Parameter]| -> Vec<bool> {
        let own = step.gradients.iter().filter(|&&(parameter, _)| has(group, parameter));
        let found: BTreeSet<_> =
            own.flat_map(|&(_, gradient)| influences(program, gradient)).collect();
        groups.iter().map(|other| other.iter().any(|own| found.contains(&own.id))).collect()
    };
    Ok(groups.iter().map(row).collect())
}

/// The first batch of training images, normalised.
struct Batch {
    images: Vec<f32>,
    shape: [usize; 4],
    labels: Vec<u32>,
}

impl Batch {
    fn new(config: &RunConfig, data: &LoadedData) -> Self {
        let all = data.images();
        let [height, width, channels] = all.shape;
        let chosen = &data.train[..config.training.batch_size.min(data.train.len())];
        let mut images = Vec::with_capacity(chosen.len() * height * width * channels);
        let labels = chosen.iter().map(|&index| data.labels()[index as usize]).collect();
        for &index in chosen {
            let size = height * width * channels;
            let (mean, std) = (&data.normalization.mean, &data.normalization.std);
            for (channel, (mean, std)) in mean.iter().zip(std).enumerate() {
                let begin = index as usize * size;
                let own = (begin + channel..begin + size).step_by(channels);
                images.extend(own.map(|at| (all.pixels.value(at) - mean) / std));
            }
        }
        Self { images, shape: [chosen.len(), channels, height, width], labels }
    }
}

/// The weights with every parameter of a group moved a little, buffers left as they are.
fn disturbed(weights: &State, group: &[Parameter]) -> State {
    let mut weights = weights.clone();
    let mut number = 0u32;
    for tensor in &mut weights.tensors {
        let Some(parameter) = find(group, &tensor.name) else { continue };
        number += 1;
        if !parameter.trainable() {
            continue;
        }
        if let StateData::Real(values) = &mut tensor.data {
            for (index, value) in values.iter_mut().enumerate() {
                let [word, ..] = philox([index as u32, number - 1, 0, u32::MAX - 1], [1, 0]);
                *value += 0.1 * (unit_interval(word) as f32 - 0.5);
            }
        }
    }
    weights
}

/// All gradients of a group in a row.
fn of_group(gradients: &State, group: &[Parameter]) -> Vec<f32> {
    let own = gradients.tensors.iter().filter(|tensor| find(group, &tensor.name).is_some());
    own.flat_map(|tensor| match &tensor.data {
        StateData::Real(values) => values.clone(),
        StateData::U32(_) => Vec::new(),
    })
    .collect()
}

fn distance(old: &[f32], new: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let apart = squares(&mut old.iter().zip(new).map(|(a, b)| f64::from(*b) - f64::from(*a)));
    apart / squares(&mut old.iter().map(|&x| f64::from(x))).max(1e-30)
}

fn report(results: &Results<'_>, report: &mut Report) -> Result {
    let request = results.request;
    let head = "method|gradient of|parameters of|path in the program|bits|relative change";
    let caption = "Dependence of every gradient on every unit’s parameters";
    let mut table = Table::new("locality", caption, head);
    let caption = "Methods, by whether a gradient depends on later units";
    let head = "method|depends on later units|pairs with the same bits";
    let mut summary = Table::new("locality-methods", caption, head);
    let mut panels = Vec::new();
    for method in names() {
        let Some(found) = results.read::<Dependence>(&id(request, method))? else { continue };
        let (mut same, mut later) = (0, false);
        for (row, gradient) in found.groups.iter().enumerate() {
            for (column, parameters) in found.groups.iter().enumerate() {
                let (path, changed) = (found.path[row][column], found.changed[row][column]);
                same += usize::from(!changed);
                later |= column > row && (path || changed);
                if changed && !path {
                    report.faults.push(format!(
                        "{method}: the gradient of {gradient} changed with the parameters of \
                         {parameters}, to which the program has no path."
                    ));
                }
                table.rows.push(vec![
                    method.into(),
                    gradient.as_str().into(),
                    parameters.as_str().into(),
                    if path { "yes" } else { "none" }.into(),
                    if changed { "changed" } else { "same" }.into(),
                    Cell::Number(found.change[row][column], 4),
                ]);
            }
        }
        if later && by_name(method).is_some_and(|method| method.local) {
            report.faults.push(format!("{method} says that it is local, and is not."));
        }
        let same = format!("{same} of {}", found.groups.len().pow(2));
        let later = if later { "yes" } else { "no" };
        summary.rows.push(vec![method.into(), later.into(), same.into()]);
        panels.push(panel(method, &found));
    }
    report.tables.extend([summary, table]);
    let caption =
        "How much a gradient changes, relative to its size, when the parameters of a unit change.";
    report.figure("locality", caption, "What each gradient depends on", 3, panels);
    Ok(())
}

/// Darkness of the cells.
const EARLIER: f64 = 0.2;
const LATER: f64 = 0.8;

fn panel(method: &str, found: &Dependence) -> Panel {
    let cell = |row: usize, column: usize| match (found.changed[row][column], column > row) {
        (false, _) => (0.0, "same".to_owned()),
        (true, later) => {
            let change = found.change[row][column];
            let text = if change < 0.01 { format!("{change:.0e}") } else { format!("{change:.2}") };
            (if later { LATER } else { EARLIER }, text)
        }
    };
    let count = found.groups.len();
    let rows = (0..count).map(|row| (0..count).map(|column| cell(row, column)).collect()).collect();
    let side = 48.0 * count as f64;
    Panel::new(
        method,
        Axis::names("parameters of", &found.groups),
        Axis::names("gradient of", &found.groups),
        vec![
            Mark::new("", 0, Shape::Cells(rows)),
            Mark::new("depends on no bit", 0, Shape::Key(0.0)),
            Mark::new("depends on its own unit or an earlier one", 0, Shape::Key(EARLIER)),
            Mark::new("depends on a later unit", 0, Shape::Key(LATER)),
        ],
        (side, 0.7 * side),
    )
}
