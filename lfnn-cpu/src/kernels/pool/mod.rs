//! Pooling over windows and over adaptive grids; an image, or several, on one thread.

mod image;

use image::Geometry;
use lfnn_core::program::{
    AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad,
    MaxPoolTangent, TensorId, Window,
};
use rayon::iter::{Either, repeat_n};
use rayon::prelude::*;

use crate::fuse::Epilogue;
use crate::memory::{BufferResolver, In, Out};
use crate::work::{GRAIN, Kernel, Workspace};

/// The results of maximum pooling.
struct Maxima {
    y: Out<f32>,
    position: Option<Out<u8>>,
    window: Window,
    geometry: Geometry,
}

impl Maxima {
    fn new(op: &MaxPool, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            y: bind.write(op.y),
            position: op.position.map(|position| bind.write(position)),
            window: op.window,
            geometry: Geometry::new(bind.tensors(), op.x, op.y),
        }
    }
}

/// Maximum pooling of stored images.
pub(crate) struct Max {
    x: In<f32>,
    poolings: Poolings,
    image_len: usize,
}

impl Max {
    pub(crate) fn new(op: &MaxPool, bind: &mut BufferResolver<'_>) -> Self {
        let maxima = Maxima::new(op, bind);
        let image_len = maxima.geometry.image_len();
        let poolings = Poolings { max: Some(maxima), adaptive: None };
        Self { x: bind.read(op.x), poolings, image_len }
    }
}

impl Kernel for Max {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, len) = (self.x.get(), self.image_len);
        if x.is_empty() {
            return;
        }
        let images = (GRAIN / len).max(1);
        let pieces = self.poolings.pieces(images, x.len() / len);
        pieces.zip(x.par_chunks(images * len)).for_each(|(mut pooled, x)| {
            for (i, x) in x.chunks_exact(len).enumerate() {
                pooled.image(i, x);
            }
        });
    }
}

/// Poolings that are done on each image as soon as it is computed.
pub(crate) struct Poolings {
    max: Option<Maxima>,
    adaptive: Option<(Out<f32>, Geometry)>,
}

impl Poolings {
    pub(crate) fn new(behind: Option<&Epilogue<'_>>, bind: &mut BufferResolver<'_>) -> Self {
        let max = behind.and_then(|behind| behind.max).map(|op| Maxima::new(op, bind));
        let adaptive = behind
            .and_then(|behind| behind.adaptive)
            .map(|op| (bind.write(op.y), Geometry::new(bind.tensors(), op.x, op.y)));
        Self { max, adaptive }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.max.is_none() && self.adaptive.is_none()
    }

    /// The results in pieces of some images.
    pub(crate) fn pieces(
        &mut self,
        images: usize,
        total: usize,
    ) -> impl IndexedParallelIterator<Item = PooledPiece<'_>> {
        let count = total.div_ceil(images);
        let (mut max, mut y, mut position, mut adaptive) = (None, None, None, None);
        if let Some(op) = &mut self.max {
            let len = images * op.geometry.pooled_len();
            max = Some((&op.geometry, &op.window));
            y = Some((op.y.get(), len));
            position = op.position.as_mut().map(|position| (position.get(), len));
        }
        let mut grid = None;
        if let Some((y, geometry)) = &mut self.adaptive {
            grid = Some(&*geometry);
            adaptive = Some((y.get(), images * geometry.pooled_len()));
        }
        let y = chunks(y, count).zip(chunks(position, count));
        y.zip(chunks(adaptive, count)).map(move |((y, position), bins)| PooledPiece {
            max: max.zip(y).map(|((geometry, window), y)| MaximaPiece {
                geometry,
                window,
                y,
                position,
            }),
            adaptive: grid.zip(bins),
        })
    }
}

/// Pieces of a slice, or as many times nothing.
fn chunks<T: Send>(
    slice: Option<(&mut [T], usize)>,
    count: usize,
) -> impl IndexedParallelIterator<Item = Option<&mut [T]>> {
    match slice {
        Some((slice, len)) => Either::Left(slice.par_chunks_mut(len.max(1)).map(Some)),
        None => Either::Right(repeat_n((), count).map(|()| None)),
    }
}

/// The results of poolings for some images.
pub(crate) struct PooledPiece<'a> {
    max: Option<MaximaPiece<'a>>,
    adaptive: Option<(&'a Geometry, &'a mut [f32])>,
}

/// The results of maximum pooling for some images.
struct MaximaPiece<'a> {
    geometry: &'a Geometry,
    window: &'a Window,
    y: &'a mut [f32],
    position: Option<&'a mut [u8]>,
}

impl PooledPiece<'_> {
    /// Pools image `i` of the piece.
    pub(crate) fn image(&mut self, i: usize, x: &[f32]) {
        if let Some(MaximaPiece { geometry: g, window, y, position }) = &mut self.max {
            let here = i * g.pooled_len()..(i + 1) * g.pooled_len();
            let y = &mut y[here.clone()];
            match position {
                Some(position) => image::maximum(g, window, x, y, &mut position[here]),
                None => image::maximum_only(g, window, x, y),
            }
        }
        if let Some((g, y)) = &mut self.adaptive {
            image::adaptive(g, x, &mut y[i * g.pooled_len()..][..g.pooled_len()]);
        }
    }
}

/// The backward rule of a pooling, image by image.
pub(crate) struct PoolGrad {
    dy: In<f32>,
    position: Option<In<u8>>,
    geometry: Geometry,
    rule: Rule,
}

impl PoolGrad {
    pub(crate) fn max(op: &MaxPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            dy: bind.read(op.dy),
            position: Some(bind.read(op.position)),
            geometry: Geometry::new(bind.tensors(), op.dx, op.dy),
            rule: Rule::MaxGrad(op.window),
        }
    }

    pub(crate) fn adaptive(op: &AdaptiveAvgPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            dy: bind.read(op.dy),
            position: None,
            geometry: Geometry::new(bind.tensors(), op.dx, op.dy),
            rule: Rule::AdaptiveGrad,
        }
    }

    /// Spreads the gradient of image `i`.
    pub(crate) fn image(&self, i: usize, dx: &mut [f32]) {
        let here = i * self.geometry.pooled_len()..(i + 1) * self.geometry.pooled_len();
        let positions = self.position.as_ref().map_or(&[][..], |p| &p.get()[here.clone()]);
        self.rule.apply(&self.geometry, &self.dy.get()[here], positions, dx);
    }
}

/// Which side of a pooling is written.
enum Direction {
    /// The pooled side, from the image.
    Down,
    /// The image, from the pooled side.
    Up,
}

/// Any pooling operation that reads one tensor, and perhaps positions, and writes another.
pub(crate) struct Pool {
    from: In<f32>,
    position: Option<In<u8>>,
    to: Out<f32>,
    geometry: Geometry,
    direction: Direction,
    rule: Rule,
}

enum Rule {
    MaxGrad(Window),
    MaxTangent(Window),
    Average(Window),
    AverageGrad(Window),
    Adaptive,
    AdaptiveGrad,
}

impl Rule {
    /// Does one image; `positions` are empty where the rule needs none.
    fn apply(&self, g: &Geometry, from: &[f32], positions: &[u8], to: &mut [f32]) {
        match self {
            Rule::MaxGrad(window) => image::maximum_grad(g, window, from, positions, to),
            Rule::MaxTangent(window) => image::maximum_tangent(g, window, from, positions, to),
            Rule::Average(window) => image::average(g, window, from, to),
            Rule::AverageGrad(window) => image::average_grad(g, window, from, to),
            Rule::Adaptive => image::adaptive(g, from, to),
            Rule::AdaptiveGrad => image::adaptive_grad(g, from, to),
        }
    }
}

impl Pool {
    fn down(x: TensorId, y: TensorId, rule: Rule, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            from: bind.read(x),
            position: None,
            to: bind.write(y),
            geometry: Geometry::new(bind.tensors(), x, y),
            direction: Direction::Down,
            rule,
        }
    }

    fn up(dy: TensorId, dx: TensorId, rule: Rule, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            from: bind.read(dy),
            position: None,
            to: bind.write(dx),
            geometry: Geometry::new(bind.tensors(), dx, dy),
            direction: Direction::Up,
            rule,
        }
    }

    pub(crate) fn max_grad(op: &MaxPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        let pool = Self::up(op.dy, op.dx, Rule::MaxGrad(op.window), bind);
        Self { position: Some(bind.read(op.position)), ..pool }
    }

    pub(crate) fn max_tangent(op: &MaxPoolTangent, bind: &mut BufferResolver<'_>) -> Self {
        let pool = Self::down(op.dx, op.dy, Rule::MaxTangent(op.window), bind);
        Self { position: Some(bind.read(op.position)), ..pool }
    }

    pub(crate) fn average(op: &AvgPool, bind: &mut BufferResolver<'_>) -> Self {
        Self::down(op.x, op.y, Rule::Average(op.window), bind)
    }

    pub(crate) fn average_grad(op: &AvgPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        Self::up(op.dy, op.dx, Rule::AverageGrad(op.window), bind)
    }

    pub(crate) fn adaptive(op: &AdaptiveAvgPool, bind: &mut BufferResolver<'_>) -> Self {
        Self::down(op.x, op.y, Rule::Adaptive, bind)
    }

    pub(crate) fn adaptive_grad(op: &AdaptiveAvgPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        Self::up(op.dy, op.dx, Rule::AdaptiveGrad, bind)
    }
}

impl Kernel for Pool {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (g, to) = (&self.geometry, self.to.get());
        let (from_len, to_len) = match self.direction {
            Direction::Down => (g.image_len(), g.pooled_len()),
            Direction::Up => (g.pooled_len(), g.image_len()),
        };
        if to_len == 0 || from_len == 0 {
            return to.fill(0.0);
        }
        let (images, rule) = (g.images(), &self.rule);
        let positions = self.position.as_ref().map_or(&[][..], In::get);
        let from = self.from.get().par_chunks(images * from_len);
        to.par_chunks_mut(images * to_len).zip(from).enumerate().for_each(|(piece, (to, from))| {
            let pairs = to.chunks_exact_mut(to_len).zip(from.chunks_exact(from_len));
            for (i, (to, from)) in pairs.enumerate() {
                let start = (piece * images + i) * g.pooled_len();
                let positions = positions.get(start..start + g.pooled_len()).unwrap_or(&[]);
                rule.apply(g, from, positions, to);
            }
        });
    }
}
