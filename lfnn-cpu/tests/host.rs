//! What the host may write and read, and the errors it gets otherwise.

use lfnn_core::backend::{Backend, BackendError, TensorData, TensorDataMut};
use lfnn_core::program::{Activate, Activation, Add, DType, ProgramError, ProgramId, ProgramSet};
use lfnn_cpu::Cpu;

/// y = relu(x + x).
fn set() -> Result<ProgramSet, ProgramError> {
    let mut set = ProgramSet::new();
    let x = set.persistent("x", DType::Real, &[2, 2]);
    let y = set.persistent("y", DType::Real, &[2, 2]);
    let mut program = set.build("double");
    let sum = program.real("sum", &[2, 2]);
    program.push(Add { inputs: vec![x, x], y: sum });
    program.push(Activate { x: sum, y, function: Activation::Relu });
    program.finish()?;
    Ok(set)
}

#[test]
fn data_goes_in_and_comes_out() {
    let set = set().unwrap();
    let ids: Vec<_> = set.tensors().iter().map(|(id, _)| id).collect();
    let cpu = Cpu::new(Some(2)).unwrap();
    assert_eq!((cpu.name().as_str(), cpu.threads()), ("cpu", 2));
    let mut executable = cpu.compile(&set).unwrap();
    let mut y = [9.0; 4];
    executable.download(ids[1], TensorDataMut::Real(&mut y)).unwrap();
    assert_eq!(y, [0.0; 4]);
    executable.upload(ids[0], TensorData::Real(&[1.0, -2.0, 3.0, 0.0])).unwrap();
    executable.run(ProgramId(0)).unwrap();
    executable.download(ids[1], TensorDataMut::Real(&mut y)).unwrap();
    assert_eq!(y, [2.0, 0.0, 6.0, 0.0]);
    let memory = executable.memory();
    assert_eq!(memory.persistent, 128);
    assert!(memory.temporary >= 64, "{memory:?}");
    let names: Vec<_> =
        executable.profile(ProgramId(0)).unwrap().into_iter().map(|step| step.name).collect();
    assert_eq!(names, ["Add", "Activate"]);
}

#[test]
fn mistakes_name_the_tensor_and_both_sizes() {
    let set = set().unwrap();
    let ids: Vec<_> = set.tensors().iter().map(|(id, _)| id).collect();
    let mut executable = Cpu::new(Some(1)).unwrap().compile(&set).unwrap();
    let says = |result: Result<(), BackendError>, message: &str| {
        assert_eq!(result.unwrap_err().to_string(), message);
    };
    says(
        executable.upload(ids[0], TensorData::Real(&[1.0])),
        "tensor `x` has 4 elements and not 1",
    );
    says(executable.upload(ids[0], TensorData::U8(&[1; 4])), "tensor `x` holds Real and not U8");
    says(
        executable.download(ids[2], TensorDataMut::Real(&mut [0.0; 4])),
        "tensor `sum` lives only inside a run: the host cannot read or write it",
    );
    says(executable.run(ProgramId(1)), "there is no program 1: the program set has 1");
}
