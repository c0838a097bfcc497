//! Random weights of a network.

use lfnn_core::config::NetworkConfig;
use lfnn_core::network::Network;
use lfnn_core::program::ProgramSet;
use lfnn_core::train::{State, StateData, StateTensor};

use crate::source::Source;

/// A state of every parameter and buffer of a network, uniform in ±`bound`; variances are at least 0.1.
///
/// # Panics
/// A network that cannot be built.
pub fn weights(
    network: &NetworkConfig,
    input: &[usize],
    classes: usize,
    bound: f64,
    source: &mut Source,
) -> State {
    let network = Network::new(&mut ProgramSet::new(), network, input, classes)
        .unwrap_or_else(|error| panic!("{error}"));
    let tensors = network.parameters().iter().map(|parameter| {
        let tensor = &parameter.tensor;
        let shape = match tensor.shape[..] {
            [out, kh, kw, input] => vec![out, input, kh, kw],
            _ => tensor.shape.clone(),
        };
        let low = if tensor.name.ends_with("running_var") { 0.1 } else { -bound };
        let data = StateData::Real(source.reals(tensor.len(), low, bound));
        StateTensor { name: tensor.name.clone(), shape, data }
    });
    State { tensors: tensors.collect() }
}
