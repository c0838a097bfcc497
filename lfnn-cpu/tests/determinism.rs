//! The bytes of a training step do not depend on the threads.

use std::error::Error;

use lfnn_core::backend::{Backend, TensorDataMut};
use lfnn_core::program::DType;
use lfnn_cpu::Cpu;
use network::Step;

mod network;

/// Every persistent tensor, in bits, after three steps with this many threads.
fn train(threads: usize) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let mut step = Step::new(48, 20, 3);
    step.unit(24, true);
    step.unit(40, true);
    step.unit(36, false);
    step.match_similarity();
    step.flatten();
    step.dense(52);
    step.perturb();
    let (set, program, uploads) = step.finish()?;
    let mut executable = Cpu::new(Some(threads))?.compile(&set)?;
    for (id, data) in &uploads {
        executable.upload(*id, data.as_tensor())?;
    }
    for _ in 0..3 {
        executable.run(program)?;
    }
    let mut contents = Vec::new();
    for (id, tensor) in set.tensors().iter() {
        if tensor.is_persistent() && tensor.dtype == DType::Real {
            let mut data = vec![0.0; tensor.len()];
            executable.download(id, TensorDataMut::Real(&mut data))?;
            assert!(data.iter().all(|x| x.is_finite()), "`{}`", tensor.name);
            contents.push(data.into_iter().map(f32::to_bits).collect());
        }
    }
    Ok(contents)
}

#[test]
fn one_two_three_and_sixteen_threads_give_the_same_bytes() {
    let one = train(1).unwrap();
    for threads in [2, 3, 16] {
        assert!(train(threads).unwrap() == one, "{threads} threads");
    }
}
