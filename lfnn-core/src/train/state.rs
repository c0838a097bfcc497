//! Everything needed to resume: parameters, buffers, optimiser, counters.

use std::collections::{HashMap, HashSet};

use crate::backend::{BackendError, Executable, TensorData, TensorDataMut};
use crate::program::{DType, ProgramSet, Role, Tensor, TensorId};

use super::error::TrainError;

/// A saved state: named tensors in the order of their names. Convolution weights, and the
/// optimiser's tensors of their shape, are `(out, in, kernel height, kernel width)`, as PyTorch has
/// them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The tensors.
    pub tensors: Vec<StateTensor>,
}

/// A tensor of a saved state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateTensor {
    /// Its name: a parameter's own name, or one with the [`prefix`](Role::prefix) of another role.
    pub name: String,
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: StateData,
}

/// Elements of a saved tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum StateData {
    /// Real numbers.
    Real(Vec<f32>),
    /// Whole numbers.
    U32(Vec<u32>),
}

impl State {
    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&StateTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The first tensor with a number that is infinite or not a number, if there is one.
    pub fn not_finite(&self) -> Option<&StateTensor> {
        self.tensors.iter().find(|tensor| !tensor.is_finite())
    }

    /// The tensors by their names.
    pub(super) fn index(&self) -> HashMap<&str, &StateTensor> {
        self.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
    }
}

impl StateTensor {
    /// Whether no number is infinite or not a number.
    pub fn is_finite(&self) -> bool {
        match &self.data {
            // Without branches, so that it is one pass of vector instructions.
            StateData::Real(data) => data.iter().fold(true, |all, x| all & x.is_finite()),
            StateData::U32(_) => true,
        }
    }
}

/// `[out, kh, kw, in]` as `[out, in, kh, kw]`.
pub(super) fn to_channels_first(shape: &[usize], data: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let &[out, kh, kw, input] = shape else { return (shape.to_vec(), data.to_vec()) };
    let mut moved = Vec::with_capacity(data.len());
    for o in 0..out {
        for i in 0..input {
            for k in 0..kh * kw {
                moved.push(data[(o * kh * kw + k) * input + i]);
            }
        }
    }
    (vec![out, input, kh, kw], moved)
}

/// The inverse of [`to_channels_first`], given the program's shape.
pub(super) fn to_channels_last(shape: &[usize], data: &[f32]) -> Vec<f32> {
    let &[out, kh, kw, input] = shape else { return data.to_vec() };
    let mut moved = Vec::with_capacity(data.len());
    for o in 0..out {
        for k in 0..kh * kw {
            for i in 0..input {
                moved.push(data[(o * input + i) * kh * kw + k]);
            }
        }
    }
    moved
}

/// The shape under which a tensor of this shape in a program is saved.
pub(super) fn saved_shape(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [out, kh, kw, input] => vec![out, input, kh, kw],
        _ => shape.to_vec(),
    }
}

/// A tensor of a program set in a saved state.
///
/// # Errors
/// A state that lacks it, or has it in another shape or type.
pub(super) fn saved<'s>(
    tensor: &Tensor,
    state: &HashMap<&str, &'s StateTensor>,
) -> Result<&'s StateTensor, String> {
    let saved = *state
        .get(tensor.name.as_str())
        .ok_or_else(|| format!("it lacks the tensor `{}` of this network", tensor.name))?;
    let expected = saved_shape(&tensor.shape);
    if saved.shape != expected {
        return Err(format!(
            "`{}` has shape {:?}, expected {expected:?}",
            tensor.name, saved.shape
        ));
    }
    let found = match &saved.data {
        StateData::Real(data) => data.len(),
        StateData::U32(data) => data.len(),
    };
    if found != tensor.len() {
        return Err(format!("`{}` holds {found} numbers, expected {}", tensor.name, tensor.len()));
    }
    match (&saved.data, tensor.dtype) {
        (StateData::Real(_), DType::Real) | (StateData::U32(_), DType::U32) => Ok(saved),
        _ => Err(format!("`{}` has another type, expected {:?}", tensor.name, tensor.dtype)),
    }
}

/// Reads the state of an executable.
pub(super) fn save(set: &ProgramSet, executable: &dyn Executable) -> Result<State, BackendError> {
    let mut tensors = Vec::new();
    for (id, tensor) in set.tensors().iter().filter(|(_, tensor)| tensor.role.is_saved()) {
        let (shape, data) = match tensor.dtype {
            DType::Real => {
                let data = executable.download_reals(id, tensor.len())?;
                let (shape, data) = to_channels_first(&tensor.shape, &data);
                (shape, StateData::Real(data))
            }
            DType::U32 | DType::U8 => {
                let mut data = vec![0; tensor.len()];
                executable.download(id, TensorDataMut::U32(&mut data))?;
                (tensor.shape.clone(), StateData::U32(data))
            }
        };
        tensors.push(StateTensor { name: tensor.name.clone(), shape, data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(State { tensors })
}

/// Holds a state against a program set, of which nothing need be allocated: the tensors of the program set's state, each
/// with the saved one. Every one must be there; with `exact` there may be no other, without it (for evaluation)
/// the training's own tensors are passed over.
///
/// # Errors
/// A tensor too few or too many, or one of another shape or type, as a message.
pub(super) fn fit<'s>(
    set: &ProgramSet,
    state: &'s State,
    exact: bool,
) -> Result<Vec<(TensorId, &'s StateTensor)>, String> {
    let wanted: Vec<_> =
        set.tensors().iter().filter(|(_, tensor)| tensor.role.is_saved()).collect();
    let names: HashSet<&str> = wanted.iter().map(|(_, tensor)| tensor.name.as_str()).collect();
    for saved in &state.tensors {
        let of_training = matches!(
            Role::of_saved(&saved.name),
            Some(Role::Optimizer | Role::Metric | Role::Feedback)
        );
        if !names.contains(saved.name.as_str()) && (exact || !of_training) {
            return Err(format!("it holds a tensor `{}` that this network lacks", saved.name));
        }
    }
    let index = state.index();
    wanted.into_iter().map(|(id, tensor)| Ok((id, saved(tensor, &index)?))).collect()
}

/// Writes a state that [`fit`]s into an executable.
pub(super) fn load(
    set: &ProgramSet,
    executable: &mut dyn Executable,
    fit: &[(TensorId, &StateTensor)],
) -> Result<(), TrainError> {
    for &(id, saved) in fit {
        match &saved.data {
            StateData::Real(data) => {
                let data = to_channels_last(&set.tensors()[id].shape, data);
                executable.upload(id, TensorData::Real(&data))
            }
            StateData::U32(data) => executable.upload(id, TensorData::U32(data)),
        }
        .map_err(TrainError::Backend)?;
    }
    Ok(())
}
