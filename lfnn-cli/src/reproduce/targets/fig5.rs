//! Figure 5: how workers move in a step, leaders and followers told apart, and the Vicsek model.

use std::time::Instant;

use anyhow::Context;
use lfnn_data::DatasetName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::plan::{Computation, ReproduceRequest, Task};
use super::super::report::{Cell, Report, Stat, Table};
use super::super::runner::Results;
use super::super::trace::{self, Activity};
use super::super::trial;
use super::super::vicsek::{Flock, Settings};
use super::{Target, expect_data, one_pass, quick_note};
use crate::chart::{Axis, Figure, Mark, Panel, Point};
use crate::failure::Failure;
use crate::interrupt;

#[derive(Debug)]
pub(super) struct Fig5;

/// Position and heading.
type Particle = ([f64; 2], [f64; 2]);

/// What a flock shows.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
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

/// Steps whose movements are drawn.
fn drawn(request: &ReproduceRequest) -> [usize; 4] {
    if request.is_paper() { [1, 20, 100, 500] } else { [1, 20, 60, 200] }
}

fn activity(request: &ReproduceRequest, seed: u64) -> Result<Computation, Failure> {
    let config = one_pass(request, "lfnn", 32, seed).leaders(30).config()?;
    let drawn = drawn(request);
    let settings = json!({"config": serde_json::to_value(&config)?, "drawn": drawn});
    let other = config.clone();
    Ok(Computation {
        id: activity_id(request, seed),
        settings,
        alone: false,
        // Two looks at the workers for each step.
        trial: Box::new(move |resources| {
            Ok(trial::of_training(&resources.run(&other))?.mul_f64(3.0))
        }),
        work: Box::new(move |resources| {
            Ok(serde_json::to_value(trace::activity(&resources.run(&config), &drawn)?)?)
        }),
    })
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
    let steps = if request.is_short() {
        3
    } else if request.is_paper() {
        400
    } else {
        60
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
                if interrupt::requested() {
                    return Err(Failure::Interrupted);
                }
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
            Ok(serde_json::to_value(Shown { order, pictures, seconds_per_step })?)
        }),
    }
}

fn shown(results: &Results, id: &str) -> Result<Option<Shown>, Failure> {
    let value = results.value(id).cloned();
    let read =
        value.map(|value| serde_json::from_value(value).context("a flock that cannot be read"));
    Ok(read.transpose()?)
}

impl Target for Fig5 {
    fn name(&self) -> &'static str {
        "fig5"
    }

    fn about(&self) -> &'static str {
        "how workers move in a step, leaders and followers; and the Vicsek model"
    }

    fn plan(&self, request: &ReproduceRequest) -> Result<Vec<Task>, Failure> {
        expect_data(request, DatasetName::Mnist)?;
        let mut tasks = Vec::new();
        for &seed in &request.seeds {
            tasks.push(Task::Compute(activity(request, seed)?));
        }
        tasks.extend(flocks(request).into_iter().map(flock).map(Task::Compute));
        Ok(tasks)
    }

    fn report(&self, request: &ReproduceRequest, results: &Results) -> Result<Report, Failure> {
        let mut report = Report {
            title: "Figure 5: the movement of workers, and the Vicsek model".into(),
            ..Report::default()
        };
        report.text.extend(quick_note(request, "One pass in batches of 5."));
        report.text.push(
            "a. One-vs-all networks of 32 single-neuron workers, 30 % of which lead, trained by lfnn. The outputs of \
             all workers for the same test images are compared before and after every step: their change is the \
             worker’s movement. The order parameter is the length of the mean of the workers’ directions of movement: \
             1 if all change their outputs in the same way, about 1/√N for N independent directions. It summarises the \
             arrows in one number. b. The Vicsek model: particles of one speed take the mean heading of the particles \
             within distance 1, turned by a random angle of up to ±η half turns. Its order parameter is the length of \
             the mean heading."
                .into(),
        );
        activity_report(request, results, &mut report)?;
        vicsek_report(request, results, &mut report)?;
        Ok(report)
    }
}

fn activity_report(
    request: &ReproduceRequest,
    results: &Results,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut all: Vec<Vec<Activity>> = Vec::new();
    for &seed in &request.seeds {
        if let Some(value) = results.value(&activity_id(request, seed)) {
            let rows = serde_json::from_value(value.clone());
            all.push(rows.context("a trace of activity that cannot be read")?);
        }
    }
    let Some(first) = all.first() else { return Ok(()) };

    let mut panels = Vec::new();
    for row in first.iter().filter(|row| !row.moves.is_empty()) {
        let arrows = |leads: bool| {
            let moves = row.moves.iter().filter(|one| one.leads == leads);
            moves.map(|one| (one.from, one.to)).collect::<Vec<_>>()
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
        panels.push(Panel {
            title: format!("step {}", row.step),
            x: Axis::new("mean output for images of the class").range(x.0, x.1),
            y: Axis::new("mean output for all others").range(y.0, y.1),
            marks: vec![
                Mark::Arrows { name: "followers".into(), style: 1, arrows: arrows(false) },
                Mark::Arrows { name: "leaders".into(), style: 2, arrows: arrows(true) },
            ],
            size: (300.0, 220.0),
        });
    }
    let title = "How the workers of one classifier move in a step".into();
    report.figures.push((
        "fig5a".into(),
        "The classifier for the first class against the rest, seed 1. An arrow goes from where a worker’s outputs \
         were to where they are after the step; a good worker is at the lower right. Every panel has its own \
         scale."
            .into(),
        Figure { title, panels, columns: 2 },
    ));

    // Means over windows of steps, and over the seeds.
    let steps = all.iter().map(Vec::len).min().unwrap_or(0);
    let window = (steps / 40).max(1);
    let curve = |value: &dyn Fn(&Activity) -> f64| -> Vec<Point> {
        let windows = (0..steps / window).map(|at| at * window..(at + 1) * window);
        let point = |range: std::ops::Range<usize>| {
            let mean = |rows: &Vec<Activity>| {
                rows[range.clone()].iter().map(value).sum::<f64>() / window as f64
            };
            let values: Vec<f64> = all.iter().map(mean).collect();
            Stat::of(&values).map(|stat| Point {
                x: (range.end as f64 + range.start as f64 + 1.0) / 2.0,
                y: stat.mean,
                spread: 0.0,
            })
        };
        windows.filter_map(point).collect()
    };
    let line =
        |name: &str, style, points| Mark::Line { name: name.into(), style, points, markers: false };
    let order = [("followers", 1, 2), ("leaders", 2, 1), ("all workers", 0, 0)];
    let sizes = [("followers", 1, 1), ("leaders", 2, 0)];
    let panels = vec![
        Panel {
            title: String::new(),
            x: Axis::new("training step"),
            y: Axis::new("order parameter of the movement").range(0.0, 1.0),
            marks: order
                .map(|(name, style, at)| line(name, style, curve(&|row| row.order[at])))
                .to_vec(),
            size: (360.0, 230.0),
        },
        Panel {
            title: String::new(),
            x: Axis::new("training step"),
            y: Axis::new("mean change of output in a step").log(),
            marks: sizes
                .map(|(name, style, at)| line(name, style, curve(&|row| row.size[at])))
                .to_vec(),
            size: (360.0, 230.0),
        },
    ];
    report.figures.push((
        "fig5a-order".into(),
        format!("Means over the ten classifiers, {window} steps and the seeds."),
        Figure { title: "Order and size of the workers’ movement".into(), panels, columns: 2 },
    ));
    let head =
        ["steps", "all workers", "leaders", "followers", "leaders’ change", "followers’ change"];
    let caption =
        "a. Order parameter, and mean change of output in a step, in four parts of the pass";
    let mut table = Table::new("fig5a", caption, &head);
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

fn vicsek_report(
    request: &ReproduceRequest,
    results: &Results,
    report: &mut Report,
) -> Result<(), Failure> {
    if let Some(small) = shown(results, "vicsek-small")? {
        let side = (SMALL as f64 / DENSITY).sqrt();
        let panels = small.pictures.iter().map(|(step, seen)| {
            let arrow = |(at, along): &Particle| {
                let end = [at[0] + 0.35 * along[0], at[1] + 0.35 * along[1]];
                (*at, end)
            };
            let order = small.order.get(*step).copied().unwrap_or(0.0);
            Panel {
                title: format!("step {step}, order {order:.2}"),
                // With room for the arrows at the edges.
                x: Axis::new("").range(-0.4, side + 0.4),
                y: Axis::new("").range(-0.4, side + 0.4),
                marks: vec![Mark::Arrows {
                    name: String::new(),
                    style: 1,
                    arrows: seen.iter().map(arrow).collect(),
                }],
                size: (230.0, 230.0),
            }
        });
        let title = format!("The Vicsek model, {SMALL} particles, η = 0.1");
        report.figures.push((
            "fig5b".into(),
            "Every arrow is a particle with its heading; the edges of the square are joined."
                .into(),
            Figure { title, panels: panels.collect(), columns: 3 },
        ));
    }
    let (mut curves, mut against) = (Vec::new(), Vec::new());
    let head = ["particles", "η", "order at the end", "milliseconds per step"];
    let mut table = Table::new("fig5b", "b. The Vicsek model", &head);
    for (id, settings, steps, _) in flocks(request) {
        let Some(shown) = shown(results, &id)? else { continue };
        let half = &shown.order[shown.order.len() / 2..];
        let mean = half.iter().sum::<f64>() / half.len().max(1) as f64;
        if settings.particles > SMALL {
            let points = shown.order.iter().enumerate().map(|(step, &y)| Point {
                x: step as f64,
                y,
                spread: 0.0,
            });
            curves.push(Mark::Line {
                name: format!("η = {}", settings.noise),
                style: curves.len(),
                points: points.collect(),
                markers: false,
            });
            table.rows.push(vec![
                Cell::count(settings.particles),
                Cell::Number(settings.noise, 1),
                Cell::Number(shown.order.last().copied().unwrap_or(0.0), 3),
                Cell::Number(1000.0 * shown.seconds_per_step, 1),
            ]);
        } else if steps == 400 {
            against.push(Point { x: settings.noise, y: mean, spread: 0.0 });
        }
    }
    let panel = |x: &str, title: &str, marks| Panel {
        title: title.into(),
        x: Axis::new(x),
        y: Axis::new("order parameter").range(0.0, 1.0),
        marks,
        size: (360.0, 230.0),
    };
    let one = Mark::Line { name: String::new(), style: 1, points: against, markers: true };
    let panels = vec![
        panel("step", "100,000 particles", curves),
        panel("noise η", &format!("{SMALL} particles, mean of steps 200 to 400"), vec![one]),
    ];
    report.figures.push((
        "fig5b-order".into(),
        "Left: order emerges from random headings, more slowly in larger flocks. Right: noise destroys it."
            .into(),
        Figure { title: "The order parameter of the Vicsek model".into(), panels, columns: 2 },
    ));
    report.tables.push(table);
    Ok(())
}
