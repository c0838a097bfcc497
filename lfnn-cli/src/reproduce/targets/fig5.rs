//! Figure 5: how workers move in a step, leaders and followers told apart, and the Vicsek model.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Task};
use super::super::report::Report;
use super::super::runner::Results;
use super::super::trace::{self, Activity};
use super::super::vicsek::{Flock, Settings};
use super::{Target, one_pass};
use crate::chart::{Axis, Mark, Panel, Point, Shape, Stat};
use crate::failure::Result;
use crate::interrupt;
use crate::page::{Cell, Table};
use crate::resolved::ResolvedRun;

pub(super) const FIG5: Target = Target {
    name: "fig5",
    about: "how workers move in a step, leaders and followers; and the Vicsek model",
    title: "Figure 5: the movement of workers, and the Vicsek model",
    quick: "One pass in batches of 5.",
    text: "a. One-vs-all networks of 32 single-neuron workers, 30 % of which lead, trained by lfnn. The outputs of \
 all workers for the same test images are compared before and after every step: their change is the \
 worker’s movement. The order parameter is the length of the mean of the workers’ directions of movement: \
 1 if all change their outputs in the same way, about 1/√N for N independent directions. It summarises the \
 arrows in one number. b. The Vicsek model: particles of one speed take the mean heading of the particles \
 within distance 1, turned by a random angle of up to ±η half turns. Its order parameter is the length of \
 the mean heading.",
    has_parts: false,
    plan,
    report: |results, report| {
        activity_report(results, report)?;
        vicsek_report(results, report)
    },
};

/// Position and heading.
type Particle = ([f64; 2], [f64; 2]);

/// How a flock moved.
#[derive(Debug, Serialize, Deserialize)]
struct Flight {
    /// The order parameter after each step.
    order: Vec<f64>,
    /// Positions and headings at the moments that are drawn.
    pictures: Vec<(usize, Vec<Particle>)>,
    /// Seconds of a step, on one thread.
    seconds_per_step: f64,
}

/// Moments of the small flock that are drawn.
const MOMENTS: [usize; 3] = [0, 10, 200];
/// Particles for each unit of area.
const DENSITY: f64 = 4.0;
const SPEED: f64 = 0.1;
const SMALL: usize = 400;

fn activity_id(request: &ReproduceRequest, seed: u64) -> String {
    format!("activity-{}", one_pass(request, "lfnn", 32, seed).leaders(30).id())
}

fn plan(request: &ReproduceRequest) -> Result<Vec<Task>> {
    // Steps whose movements are drawn.
    let drawn = if request.is_paper() { [1, 20, 100, 500] } else { [1, 20, 60, 200] };
    let mut tasks = Vec::new();
    for &seed in &request.seeds {
        let config = one_pass(request, "lfnn", 32, seed).leaders(30).config()?;
        let (id, settings) = (activity_id(request, seed), json!({"drawn": drawn}));
        // The outputs of the workers before and after each step.
        let work = move |run: &ResolvedRun| trace::activity(run, &drawn);
        tasks.push(Task::Compute(Computation::of_run(id, config, settings, 3.0, work)?));
    }
    tasks.extend(flocks(request).into_iter().map(flock).map(Task::Compute));
    Ok(tasks)
}

/// A flock to simulate: its name, its settings, steps and moments.
fn flocks(request: &ReproduceRequest) -> Vec<(String, Settings, usize, Vec<usize>)> {
    let settings = |particles: usize, noise: f64| Settings {
        particles,
        side: (particles as f64 / DENSITY).sqrt(),
        speed: SPEED,
        noise,
        seed: 1,
    };
    let large = 100_000;
    let steps = match (request.is_short(), request.is_paper()) {
        (true, _) => 3,
        (_, true) => 400,
        _ => 60,
    };
    let mut all = vec![("vicsek-small".into(), settings(SMALL, 0.1), 200, MOMENTS.to_vec())];
    for noise in [0.0, 0.1, 0.3, 1.0] {
        let name = format!("vicsek-{large}-noise{:.0}", 100.0 * noise);
        all.push((name, settings(large, noise), steps, Vec::new()));
    }
    for percent in (0..=100).step_by(10) {
        let name = format!("vicsek-noise{percent}");
        all.push((name, settings(SMALL, f64::from(percent) / 100.0), 400, Vec::new()));
    }
    all
}

fn flock((id, settings, steps, moments): (String, Settings, usize, Vec<usize>)) -> Computation {
    Computation {
        settings: json!({
            "particles": settings.particles, "side": settings.side, "speed": settings.speed,
            "noise": settings.noise, "seed": settings.seed, "steps": steps, "moments": moments,
        }),
        id,
        alone: false,
        trial: Box::new(move |_| {
            let mut flock = Flock::new(settings);
            let begin = Instant::now();
            flock.step();
            Ok(begin.elapsed().mul_f64(steps as f64))
        }),
        work: Box::new(move |_| {
            let mut flock = Flock::new(settings);
            let (mut order, mut pictures) = (vec![flock.order()], Vec::new());
            let begin = Instant::now();
            for step in 0..=steps {
                interrupt::check()?;
                if moments.contains(&step) {
                    let seen = flock.positions.iter().copied().zip(flock.headings.iter().copied());
                    pictures.push((step, seen.collect()));
                }
                if step < steps {
                    flock.step();
                    order.push(flock.order());
                }
            }
            let seconds_per_step = begin.elapsed().as_secs_f64() / steps as f64;
            Ok(serde_json::to_value(Flight { order, pictures, seconds_per_step })?)
        }),
    }
}

fn activity_report(results: &Results<'_>, report: &mut Report) -> Result {
    let mut all: Vec<Vec<Activity>> = Vec::new();
    for &seed in &results.request.seeds {
        all.extend(results.read(&activity_id(results.request, seed))?);
    }
    let Some(first) = all.first() else { return Ok(()) };

    let mut panels = Vec::new();
    for row in first.iter().filter(|row| !row.moves.is_empty()) {
        let arrows = |leads: bool| {
            let moves = row.moves.iter().filter(|one| one.leads == leads);
            Shape::Arrows(moves.map(|one| (one.from, one.to)).collect())
        };
        // Each panel shows where its own workers are: steps grow small as learning goes on.
        let ends = |axis: usize| {
            let places = row.moves.iter().flat_map(|one| [one.from[axis], one.to[axis]]);
            let (low, high) =
                places.fold((1.0f64, 0.0f64), |(low, high), at| (low.min(at), high.max(at)));
            let room = 0.06 * (high - low).max(0.01);
            (low - room, high + room)
        };
        let (x, y) = (ends(0), ends(1));
        panels.push(Panel::new(
            &format!("step {}", row.step),
            Axis::new("mean output for images of the class").range(x.0, x.1),
            Axis::new("mean output for all others").range(y.0, y.1),
            vec![Mark::new("followers", 1, arrows(false)), Mark::new("leaders", 2, arrows(true))],
            (300.0, 220.0),
        ));
    }
    report.figure(
        "fig5a",
        "The classifier for the first class against the rest, seed 1. An arrow goes from where a worker’s outputs \
         were to where they are after the step; a good worker is at the lower right. Every panel has its own \
         scale.",
        "How the workers of one classifier move in a step",
        2,
        panels,
    );

    // Means over windows of steps, and over the seeds.
    let steps = all.iter().map(Vec::len).min().unwrap_or(0);
    let window = (steps / 40).max(1);
    let line = |name: &str, style: usize, value: &dyn Fn(&Activity) -> f64| {
        let point = |at: usize| {
            let (start, end) = (at * window, (at + 1) * window);
            let mean = |rows: &Vec<Activity>| {
                rows[start..end].iter().map(value).sum::<f64>() / window as f64
            };
            let stat = Stat::of(&all.iter().map(mean).collect::<Vec<_>>())?;
            Some(Point::new((end as f64 + start as f64 + 1.0) / 2.0, stat.mean))
        };
        let points = (0..steps / window).filter_map(point).collect();
        Mark::new(name, style, Shape::Line(points))
    };
    let order = [("followers", 1, 2), ("leaders", 2, 1), ("all workers", 0, 0)]
        .map(|(name, style, at)| line(name, style, &|row| row.order[at]));
    let sizes = [("followers", 1, 1), ("leaders", 2, 0)]
        .map(|(name, style, at)| line(name, style, &|row| row.size[at]));
    let panel = |y, marks| Panel::new("", Axis::new("training step"), y, marks, (360.0, 230.0));
    let y = Axis::new("order parameter of the movement").range(0.0, 1.0);
    let size = Axis::new("mean change of output in a step").log();
    report.figure(
        "fig5a-order",
        &format!("Means over the ten classifiers, {window} steps and the seeds."),
        "Order and size of the workers’ movement",
        2,
        vec![panel(y, order.to_vec()), panel(size, sizes.to_vec())],
    );
    let head = "steps|all workers|leaders|followers|leaders’ change|followers’ change";
    let caption =
        "a. Order parameter, and mean change of output in a step, in four parts of the pass";
    let mut table = Table::new("fig5a", caption, head);
    for quarter in 0..4 {
        let range = quarter * steps / 4..(quarter + 1) * steps / 4;
        let mean = |value: &dyn Fn(&Activity) -> f64| {
            let values = all.iter().flat_map(|rows| rows[range.clone()].iter().map(value));
            values.sum::<f64>() / (range.len() * all.len()).max(1) as f64
        };
        let mut row = vec![Cell::Text(format!("{} to {}", range.start + 1, range.end))];
        row.extend((0..3).map(|at| Cell::Number(mean(&|row| row.order[at]), 3)));
        row.extend((0..2).map(|at| Cell::Number(mean(&|row| row.size[at]), 5)));
        table.rows.push(row);
    }
    report.tables.push(table);
    Ok(())
}

fn vicsek_report(results: &Results<'_>, report: &mut Report) -> Result {
    if let Some(small) = results.read::<Flight>("vicsek-small")? {
        let side = (SMALL as f64 / DENSITY).sqrt();
        // With room for the arrows at the edges.
        let axis = Axis::new("").range(-0.4, side + 0.4);
        let panel = |(step, seen): &(usize, Vec<Particle>)| {
            let arrow =
                |&(at, along): &Particle| (at, [at[0] + 0.35 * along[0], at[1] + 0.35 * along[1]]);
            let order = small.order.get(*step).copied().unwrap_or(0.0);
            let arrows = Shape::Arrows(seen.iter().map(arrow).collect());
            let marks = vec![Mark::new("", 1, arrows)];
            let title = format!("step {step}, order {order:.2}");
            Panel::new(&title, axis.clone(), axis.clone(), marks, (230.0, 230.0))
        };
        report.figure(
            "fig5b",
            "Every arrow is a particle with its heading; the edges of the square are joined.",
            &format!("The Vicsek model, {SMALL} particles, η = 0.1"),
            3,
            small.pictures.iter().map(panel).collect(),
        );
    }
    let (mut curves, mut against) = (Vec::new(), Vec::new());
    let head = "particles|η|order at the end|milliseconds per step";
    let mut table = Table::new("fig5b", "b. The Vicsek model", head);
    for (id, settings, steps, _) in flocks(results.request) {
        let Some(flight) = results.read::<Flight>(&id)? else { continue };
        let half = &flight.order[flight.order.len() / 2..];
        let mean = half.iter().sum::<f64>() / half.len().max(1) as f64;
        if settings.particles > SMALL {
            let points = flight.order.iter().enumerate();
            let points = points.map(|(step, &y)| Point::new(step as f64, y)).collect();
            let name = format!("η = {}", settings.noise);
            curves.push(Mark::new(name, curves.len(), Shape::Line(points)));
            table.rows.push(vec![
                Cell::count(settings.particles),
                Cell::Number(settings.noise, 1),
                Cell::Number(flight.order.last().copied().unwrap_or(0.0), 3),
                Cell::Number(1000.0 * flight.seconds_per_step, 1),
            ]);
        } else if steps == 400 {
            against.push(Point::new(settings.noise, mean));
        }
    }
    let panel = |x: &str, title: &str, marks| {
        let y = Axis::new("order parameter").range(0.0, 1.0);
        Panel::new(title, Axis::new(x), y, marks, (360.0, 230.0))
    };
    let small = vec![Mark::new("", 1, Shape::MarkedLine(against))];
    report.figure(
        "fig5b-order",
        "Left: order emerges from random headings, more slowly in larger flocks. Right: noise destroys it.",
        "The order parameter of the Vicsek model",
        2,
        vec![
            panel("step", "100,000 particles", curves),
            panel("noise η", &format!("{SMALL} particles, mean of steps 200 to 400"), small),
        ],
    );
    report.tables.push(table);
    Ok(())
}
