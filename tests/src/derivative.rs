//! Backward and forward-mode rules against finite differences, in `f64`.

use lfnn_core::backend::Executable;
use lfnn_core::program::{ProgramId, TensorId};

use crate::harness::Case;
use crate::reference::ReferenceExecutable;

/// Half the distance between the two points of a central difference. Its square and the rounding of
/// the function, divided by it, are both far below [`TOLERANCE`].
const STEP: f64 = 1e-5;

/// How far a derivative may lie from the difference quotient, relative to the largest element of the
/// derivative or to 1.
const TOLERANCE: f64 = 1e-6;

/// A real tensor that a function depends on.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its value, persistent.
    pub value: TensorId,
    /// Where the backward rule writes its gradient.
    pub gradient: TensorId,
    /// Where the forward-mode rule reads its tangent, if there is such a rule.
    pub tangent: Option<TensorId>,
}

/// A function with its rules, as programs.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Writes `y`.
    pub forward: ProgramId,
    /// Reads `dy` and writes the gradients.
    pub backward: ProgramId,
    /// Reads the tangents and writes the tangent of `y`, the tensor beside it.
    pub tangent: Option<(ProgramId, TensorId)>,
    /// What the function depends on.
    pub variables: Vec<Variable>,
    /// The result.
    pub y: TensorId,
    /// Gradient of the result.
    pub dy: TensorId,
}

impl Rules {
    /// Checks all rules at the contents of the case.
    ///
    /// `before` is a program that is run once, to prepare what the function holds constant.
    ///
    /// # Errors
    /// A sentence that names the first derivative that is wrong.
    pub fn check(&self, case: &Case, before: Option<ProgramId>) -> Result<(), String> {
        let mut on = case.on_reference()?;
        for program in before.into_iter().chain([self.forward, self.backward]) {
            run(&mut on, program);
        }
        let dy = on.download_f64(self.dy);
        let gradients: Vec<Vec<f64>> =
            self.variables.iter().map(|variable| on.download_f64(variable.gradient)).collect();
        for (number, (variable, gradient)) in self.variables.iter().zip(&gradients).enumerate() {
            let quotients = self.gradient_by_differences(&mut on, *variable, &dy);
            close(&format!("gradient of variable {number}"), gradient, &quotients, TOLERANCE)?;
        }
        let Some((program, tangent)) = self.tangent else { return Ok(()) };
        run(&mut on, self.forward);
        run(&mut on, program);
        let tangent = on.download_f64(tangent);
        close("tangent", &tangent, &self.tangent_by_differences(&mut on), TOLERANCE)?;
        self.check_transposed(&on, &tangent, &dy, &gradients)
    }

    /// `⟨J v, u⟩ = ⟨v, Jᵀ u⟩`, which holds to rounding.
    fn check_transposed(
        &self,
        on: &ReferenceExecutable,
        tangent: &[f64],
        dy: &[f64],
        gradients: &[Vec<f64>],
    ) -> Result<(), String> {
        let backward: f64 = self
            .variables
            .iter()
            .zip(gradients)
            .filter_map(|(variable, gradient)| {
                Some(dot(&on.download_f64(variable.tangent?), gradient))
            })
            .sum();
        close("⟨J v, u⟩ and ⟨v, Jᵀ u⟩", &[dot(tangent, dy)], &[backward], 1e-10)
    }

    fn gradient_by_differences(
        &self,
        on: &mut ReferenceExecutable,
        variable: Variable,
        dy: &[f64],
    ) -> Vec<f64> {
        let at = on.download_f64(variable.value);
        let quotients = (0..at.len()).map(|i| {
            let mut loss = |step: f64| {
                let mut moved = at.clone();
                moved[i] += step;
                on.upload_f64(variable.value, &moved);
                run(on, self.forward);
                dot(&on.download_f64(self.y), dy)
            };
            (loss(STEP) - loss(-STEP)) / (2.0 * STEP)
        });
        let quotients = quotients.collect();
        on.upload_f64(variable.value, &at);
        quotients
    }

    fn tangent_by_differences(&self, on: &mut ReferenceExecutable) -> Vec<f64> {
        let at: Vec<(TensorId, Vec<f64>, Vec<f64>)> = self
            .variables
            .iter()
            .filter_map(|variable| {
                let tangent = on.download_f64(variable.tangent?);
                Some((variable.value, on.download_f64(variable.value), tangent))
            })
            .collect();
        let mut moved = |step: f64| {
            for (id, value, tangent) in &at {
                let moved: Vec<f64> =
                    value.iter().zip(tangent).map(|(value, v)| value + step * v).collect();
                on.upload_f64(*id, &moved);
            }
            run(on, self.forward);
            on.download_f64(self.y)
        };
        let (above, below) = (moved(STEP), moved(-STEP));
        above.iter().zip(&below).map(|(above, below)| (above - below) / (2.0 * STEP)).collect()
    }
}

fn run(on: &mut ReferenceExecutable, program: ProgramId) {
    on.run(program).unwrap();
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn close(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) -> Result<(), String> {
    let largest = expected.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        // Not `>`, which a NaN would pass.
        let near = (a - e).abs() <= tolerance * largest;
        if !near {
            return Err(format!("{what}: element {i} is {a}, by differences {e}"));
        }
    }
    Ok(())
}
