//! Rules composed: random chains of smooth layers.

use lfnn_tests::chain::{self, Chain, Kinks};
use lfnn_tests::harness::Case;
use lfnn_tests::property::property;
use proptest::prelude::*;

use crate::{persistent, rules};

#[test]
fn chains_of_layers_have_the_right_derivatives() {
    property(48, (1usize..7, any::<bool>(), any::<u64>()), |(depth, image, seed)| {
        let mut case = Case::new(seed);
        let counter = case.any_counter();
        let shape = if image { vec![2, 4, 3, 2] } else { vec![3, 6] };
        let x = chain::input(&mut case, &shape);
        let mut chain = Chain::new(x, counter, Kinks::None);
        for _ in 0..depth {
            chain.extend(&mut case);
        }
        // The result must outlive the program.
        let y = persistent(&mut case, "y", &[shape[0], 2]);
        chain.read_out(&mut case, y);
        // What lies between does not, so each program starts from the beginning.
        let forward = chain.forward.clone();
        let backward = [forward.clone(), chain.backward()].concat();
        let tangent = [forward.clone(), chain.tangent.clone()].concat();
        let mut rules = rules(&mut case, &[x], y, [forward, backward, tangent]);
        rules.variables.extend(&chain.parameters);
        rules.check(&case, None)
    });
}
