//! Matrix products of cuBLASLt: found, described once, chosen once, run many times.
//!
//! The library thinks in columns: a matrix stored by rows is, to it, the transpose stored by columns. So it is
//! asked for `dᵀ = bᵀ aᵀ`, and a bias of `d`'s columns is one of its rows.
//!
//! Results must not depend on the run: algorithms that reduce in the order of arrival are left out
//! ([`REDUCTIONS`]), and an algorithm is chosen by the library's heuristic for the shape, not by timing.

use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::ptr::from_ref;
use std::rc::Rc;

use libloading::Library;

use super::capture;
use super::driver::Stream;
use super::error::{CudaError, Found, Version};
use super::library::{find, function};
use crate::plan::{Element, Matrix, Product};

/// Bytes of workspace that an algorithm may ask for: what the vendor recommends for Hopper.
pub const MAX_WORKSPACE: usize = 32 << 20;

// From cublasLt.h and library_types.h; the values have been the same since CUDA 11.
const R_32F: c_int = 0;
const R_16F: c_int = 2;
const R_16BF: c_int = 14;
const COMPUTE_32F: c_int = 68;
const COMPUTE_32F_FAST_TF32: c_int = 77;
const OP_T: c_int = 1;
const DESC_TRANSA: c_int = 3;
const DESC_TRANSB: c_int = 4;
const DESC_EPILOGUE: c_int = 7;
const DESC_BIAS_POINTER: c_int = 8;
const DESC_BIAS_BATCH_STRIDE: c_int = 10;
const DESC_BIAS_DATA_TYPE: c_int = 26;
const EPILOGUE_BIAS: u32 = 4;
const LAYOUT_BATCH_COUNT: c_int = 5;
const LAYOUT_BATCH_OFFSET: c_int = 6;
const PREFERENCE_WORKSPACE: c_int = 1;
const PREFERENCE_REDUCTIONS: c_int = 3;
/// Minimal alignments of `a`, `b`, `c` and `d`.
const PREFERENCE_ALIGNMENTS: [c_int; 4] = [5, 6, 7, 8];
/// Sums over a split inner axis in the workspace, in order, in the type of the computation. The library's
/// other schemes add up in the output.
const REDUCTIONS: u32 = 2;

type Opaque = *mut c_void;
type Status = c_int;
type SetAttribute = unsafe extern "C" fn(Opaque, c_int, *const c_void, usize) -> Status;
type Destroy = unsafe extern "C" fn(Opaque) -> Status;

/// `cublasLtMatmulAlgo_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Algorithm([u64; 8]);

/// `cublasLtMatmulHeuristicResult_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Choice {
    algorithm: Algorithm,
    workspace: usize,
    state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

type Heuristic = unsafe extern "C" fn(
    Opaque,
    Opaque,
    Opaque,
    Opaque,
    Opaque,
    Opaque,
    Opaque,
    c_int,
    *mut Choice,
    *mut c_int,
) -> Status;

type Matmul = unsafe extern "C" fn(
    Opaque,
    Opaque,
    *const c_void,
    *const c_void,
    Opaque,
    *const c_void,
    Opaque,
    *const c_void,
    *const c_void,
    Opaque,
    *mut c_void,
    Opaque,
    *const Algorithm,
    *mut c_void,
    usize,
    Opaque,
) -> Status;

/// The library.
#[derive(Debug)]
pub struct CublasLt {
    found: Found,
    create: unsafe extern "C" fn(*mut Opaque) -> Status,
    destroy: Destroy,
    desc_create: unsafe extern "C" fn(*mut Opaque, c_int, c_int) -> Status,
    desc_set: SetAttribute,
    desc_destroy: Destroy,
    layout_create: unsafe extern "C" fn(*mut Opaque, c_int, u64, u64, i64) -> Status,
    layout_set: SetAttribute,
    layout_destroy: Destroy,
    preference_create: unsafe extern "C" fn(*mut Opaque) -> Status,
    preference_set: SetAttribute,
    preference_destroy: Destroy,
    heuristic: Heuristic,
    matmul: Matmul,
    // The functions above are in it.
    _library: Library,
}

const INSTALL: &str = "install the CUDA toolkit (12 or later), or `pip install nvidia-cublas`";

impl CublasLt {
    /// Finds the library, of a version that a driver supports if that is given.
    ///
    /// # Errors
    /// [`CudaError::NoLibrary`].
    pub fn find(driver: Option<Version>) -> Result<Self, CudaError> {
        find("cublasLt", "cuBLASLt", INSTALL, |library, path| Self::open(library, path, driver))
    }

    fn open(library: Library, path: PathBuf, driver: Option<Version>) -> Result<Self, String> {
        // SAFETY: the types are those of cublasLt.h, where all of these have been since CUDA 11, and the
        // pointers are kept beside the library.
        unsafe {
            let version: unsafe extern "C" fn() -> usize =
                function(&library, "cublasLtGetVersion")?;
            // 120803 is 12.8.3; 130401 is 13.4.1.
            let number = version();
            let version =
                Version { major: (number / 10_000) as u32, minor: (number / 100 % 100) as u32 };
            if version.major < 12 {
                return Err(format!("version {version}, and lfnn needs 12 or later"));
            }
            if let Some(driver) = driver
                && version.major > driver.major
            {
                return Err(format!("version {version}, and the driver supports CUDA {driver}"));
            }
            Ok(Self {
                found: Found { version, path },
                create: function(&library, "cublasLtCreate")?,
                destroy: function(&library, "cublasLtDestroy")?,
                desc_create: function(&library, "cublasLtMatmulDescCreate")?,
                desc_set: function(&library, "cublasLtMatmulDescSetAttribute")?,
                desc_destroy: function(&library, "cublasLtMatmulDescDestroy")?,
                layout_create: function(&library, "cublasLtMatrixLayoutCreate")?,
                layout_set: function(&library, "cublasLtMatrixLayoutSetAttribute")?,
                layout_destroy: function(&library, "cublasLtMatrixLayoutDestroy")?,
                preference_create: function(&library, "cublasLtMatmulPreferenceCreate")?,
                preference_set: function(&library, "cublasLtMatmulPreferenceSetAttribute")?,
                preference_destroy: function(&library, "cublasLtMatmulPreferenceDestroy")?,
                heuristic: function(&library, "cublasLtMatmulAlgoGetHeuristic")?,
                matmul: function(&library, "cublasLtMatmul")?,
                _library: library,
            })
        }
    }

    /// Its version, and where it was found.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

fn check(status: Status, what: impl Fn() -> String) -> Result<(), CudaError> {
    let name = match status {
        0 => return Ok(()),
        1 => "not initialised",
        3 => "no memory",
        7 => "an argument that cannot be",
        8 => "not for this architecture",
        13 => "the execution failed",
        14 => "an internal error",
        15 => "not supported",
        _ => "an error",
    };
    Err(CudaError::Product { what: what(), status: format!("{name} (status {status})") })
}

/// The library at work on the current context.
#[derive(Debug)]
pub(super) struct Handle {
    library: Rc<CublasLt>,
    raw: Opaque,
}

impl Handle {
    pub(super) fn new(library: Rc<CublasLt>) -> Result<Self, CudaError> {
        let mut raw = std::ptr::null_mut();
        let _outside = capture::outside();
        // SAFETY: a context is current; the handle is destroyed once, on drop.
        let status = unsafe { (library.create)(&mut raw) };
        check(status, || "starting".into())?;
        Ok(Self { library, raw })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _outside = capture::outside();
        // SAFETY: created once by `new`.
        unsafe { (self.library.destroy)(self.raw) };
    }
}

/// One of the library's descriptions.
#[derive(Debug)]
struct Described {
    raw: Opaque,
    set: SetAttribute,
    destroy: Destroy,
}

impl Described {
    fn set<T>(&self, attribute: c_int, value: T) -> Result<(), CudaError> {
        // SAFETY: the description is alive, and the library copies the value, whose size it checks.
        let status =
            unsafe { (self.set)(self.raw, attribute, from_ref(&value).cast(), size_of::<T>()) };
        check(status, || format!("setting attribute {attribute}"))
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // SAFETY: created once and destroyed once.
        unsafe { (self.destroy)(self.raw) };
    }
}

/// A product with its places and the algorithm chosen for it.
#[derive(Debug)]
pub(super) struct BoundProduct {
    handle: Rc<Handle>,
    description: Described,
    // In the library's sense: `a` is the plan's `b`.
    a: (u64, Described),
    b: (u64, Described),
    d: (u64, Described),
    choice: Choice,
}

impl BoundProduct {
    /// Describes a product whose operands are at these addresses, and chooses the algorithm.
    pub(super) fn new(
        handle: &Rc<Handle>,
        product: &Product,
        address: impl Fn(crate::plan::Address) -> u64,
    ) -> Result<Self, CudaError> {
        let name = || {
            format!(
                "a product of {} × {} × {}, {} of them, {:?} to {:?}",
                product.rows,
                product.inner,
                product.columns,
                product.stack,
                product.a.element,
                product.d.element
            )
        };
        let library = &handle.library;
        let compute = if product.tf32 && product.a.element == Element::F32 {
            COMPUTE_32F_FAST_TF32
        } else {
            COMPUTE_32F
        };
        let mut raw = std::ptr::null_mut();
        // SAFETY: it writes a new description, which is destroyed once.
        check(unsafe { (library.desc_create)(&mut raw, compute, R_32F) }, name)?;
        let description = Described { raw, set: library.desc_set, destroy: library.desc_destroy };
        if product.b.transposed {
            description.set(DESC_TRANSA, OP_T)?;
        }
        if product.a.transposed {
            description.set(DESC_TRANSB, OP_T)?;
        }
        if let Some(bias) = product.bias {
            description.set(DESC_EPILOGUE, EPILOGUE_BIAS)?;
            description.set(DESC_BIAS_POINTER, address(bias))?;
            if product.d.element != Element::F32 {
                description.set(DESC_BIAS_DATA_TYPE, R_32F)?;
            }
            if product.stack > 1 {
                description.set(DESC_BIAS_BATCH_STRIDE, product.columns as i64)?;
            }
        }
        let layout = |matrix: &Matrix, rows: usize, columns: usize| {
            layout(library, matrix, rows, columns, product.stack)
        };
        let (rows, columns, inner) = (product.rows, product.columns, product.inner);
        let a = (address(product.b.address), layout(&product.b, inner, columns)?);
        let b = (address(product.a.address), layout(&product.a, rows, inner)?);
        let d = (address(product.d.address), layout(&product.d, rows, columns)?);

        let mut raw = std::ptr::null_mut();
        // SAFETY: as above.
        check(unsafe { (library.preference_create)(&mut raw) }, name)?;
        let preference =
            Described { raw, set: library.preference_set, destroy: library.preference_destroy };
        preference.set(PREFERENCE_WORKSPACE, MAX_WORKSPACE as u64)?;
        preference.set(PREFERENCE_REDUCTIONS, REDUCTIONS)?;
        for (which, address) in PREFERENCE_ALIGNMENTS.into_iter().zip([a.0, b.0, d.0, d.0]) {
            preference.set(which, alignment(address))?;
        }
        let mut choice = Choice {
            algorithm: Algorithm([0; 8]),
            workspace: 0,
            state: 0,
            waves: 0.0,
            reserved: [0; 4],
        };
        let mut count = 0;
        // An algorithm's kernels may be loaded here.
        let outside = capture::outside();
        // SAFETY: all descriptions are alive, and there is room for the one result asked for.
        let status = unsafe {
            (library.heuristic)(
                handle.raw,
                description.raw,
                a.1.raw,
                b.1.raw,
                d.1.raw,
                d.1.raw,
                preference.raw,
                1,
                &mut choice,
                &mut count,
            )
        };
        drop(outside);
        check(status, name)?;
        // 15: not supported.
        check(if count == 0 { 15 } else { choice.state }, name)?;
        Ok(Self { handle: handle.clone(), description, a, b, d, choice })
    }

    /// Bytes of workspace that it needs.
    pub(super) fn workspace(&self) -> usize {
        self.choice.workspace
    }

    /// Computes it, with a workspace of that size at least.
    pub(super) fn launch(&self, stream: &Stream, workspace: u64) -> Result<(), CudaError> {
        let (one, zero) = (1.0_f32, 0.0_f32);
        // SAFETY: addresses and shapes are those of the plan, inside blocks that live as long as the
        // executable; the factors are read before the call returns, since they are on the host.
        let status = unsafe {
            (self.handle.library.matmul)(
                self.handle.raw,
                self.description.raw,
                from_ref(&one).cast(),
                self.a.0 as *const c_void,
                self.a.1.raw,
                self.b.0 as *const c_void,
                self.b.1.raw,
                from_ref(&zero).cast(),
                self.d.0 as *const c_void,
                self.d.1.raw,
                self.d.0 as *mut c_void,
                self.d.1.raw,
                &self.choice.algorithm,
                workspace as *mut c_void,
                self.choice.workspace,
                stream.raw().cast(),
            )
        };
        check(status, || "running a product".into())
    }
}

/// A matrix of the plan as the library sees it: stored by columns, so rows and columns change places. `rows`
/// and `columns` are those of the factor after its own transposition.
fn layout(
    library: &CublasLt,
    matrix: &Matrix,
    rows: usize,
    columns: usize,
    stack: usize,
) -> Result<Described, CudaError> {
    let element = match matrix.element {
        Element::Bf16 => R_16BF,
        Element::F16 => R_16F,
        _ => R_32F,
    };
    let (stored_rows, stored_columns) =
        if matrix.transposed { (columns, rows) } else { (rows, columns) };
    let mut raw = std::ptr::null_mut();
    // SAFETY: it writes a new description, which is destroyed once.
    let status = unsafe {
        (library.layout_create)(
            &mut raw,
            element,
            stored_columns as u64,
            stored_rows as u64,
            matrix.row_stride as i64,
        )
    };
    check(status, || format!("describing a matrix of {stored_rows} × {stored_columns}"))?;
    let layout = Described { raw, set: library.layout_set, destroy: library.layout_destroy };
    if stack > 1 {
        layout.set(LAYOUT_BATCH_COUNT, stack as i32)?;
        layout.set(LAYOUT_BATCH_OFFSET, matrix.stack_stride as i64)?;
    }
    Ok(layout)
}

/// The power of two, up to 256, of which an address is a multiple.
fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignments_are_powers_of_two_up_to_256() {
        assert_eq!([0, 1, 2, 12, 64, 256, 4096].map(alignment), [256, 1, 2, 4, 64, 256, 256]);
    }

    #[test]
    fn the_result_of_a_heuristic_has_the_size_of_the_library() {
        assert_eq!(size_of::<Choice>(), 64 + 8 + 4 + 4 + 16);
    }
}
