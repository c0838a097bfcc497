//! Updates of parameters.

use std::error::Error;

use lfnn_core::program::{AdamStep, SgdStep};

use crate::case::{Case, Suite};

/// Weights of the last convolution of `mnist-s` and of `cifar10-m`.
const WEIGHTS: [[usize; 4]; 2] = [[120, 3, 3, 120], [224, 3, 3, 240]];

pub(crate) fn all(suite: &mut Suite) -> Result<(), Box<dyn Error>> {
    for shape in WEIGHTS {
        let count = format!("{} weights", shape.iter().product::<usize>());

        let mut case = Case::default();
        let gradient = case.input(&shape);
        let (rates, counter) = (case.between(&[1], 1e-3, 1e-3), case.counter());
        let (parameter, first) = (case.input(&shape), case.input(&shape));
        let second = case.between(&shape, 0.5, 1.0);
        case.push(AdamStep {
            gradient,
            rates,
            counter,
            factor: None,
            parameter,
            first,
            second,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.05,
            decoupled: true,
        });
        suite.measure(&count, case)?;

        let mut case = Case::default();
        let gradient = case.input(&shape);
        let (rates, counter) = (case.between(&[1], 1e-3, 1e-3), case.counter());
        let (parameter, velocity) = (case.input(&shape), Some(case.input(&shape)));
        case.push(SgdStep {
            gradient,
            rates,
            counter,
            factor: None,
            parameter,
            velocity,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
        });
        suite.measure(&count, case)?;
    }
    Ok(())
}
