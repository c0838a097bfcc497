//! Pooling over windows and over adaptive grids; an image, or several, on one thread.

mod image;

use image::Geometry;
use lfnn_core::program::fusion::Epilogue;
use lfnn_core::program::{
    self, AdaptiveAvgPool, AdaptiveAvgPoolGrad, AvgPool, AvgPoolGrad, MaxPoolGrad, MaxPoolTangent,
    TensorId, Window,
};
use rayon::iter::{Either, repeat_n};
use rayon::prelude::*;

use crate::memory::{BufferResolver, Input, Output};
use crate::work::{Compile, Kernel, Workspace, items_per_chunk, kernel};

/// The results of maximum pooling.
struct Maxima {
    y: Output<f32>,
    position: Option<Output<u8>>,
    window: Window,
    geometry: Geometry,
}

impl Maxima {
    fn new(op: &program::MaxPool, bind: &mut BufferResolver<'_>) -> Self {
        Self {
            y: bind.write(op.y),
            position: op.position.map(|position| bind.write(position)),
            window: op.window,
            geometry: Geometry::new(bind.tensors(), op.x, op.y),
        }
    }
}

kernel! {
    /// Maximum pooling of stored images.
    MaxPool { x: Input<f32> }
    with |op, bind| {
        poolings: Poolings = Poolings { max: Some(Maxima::new(op, bind)), adaptive: None },
        image_len: usize = Geometry::new(bind.tensors(), op.x, op.y).image_len(),
    }
}

impl Kernel for MaxPool {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (x, len) = (self.x.get(), self.image_len);
        if x.is_empty() {
            return;
        }
        let images = items_per_chunk(len);
        let chunks = self.poolings.chunks(images, x.len() / len);
        chunks.zip(x.par_chunks(images * len)).for_each(|(mut pooled, x)| {
            for (i, x) in x.chunks_exact(len).enumerate() {
                pooled.image(i, x);
            }
        });
    }
}

/// Poolings that are done on each image as soon as it is computed.
pub(crate) struct Poolings {
    max: Option<Maxima>,
    adaptive: Option<(Output<f32>, Geometry)>,
}

impl Poolings {
    pub(crate) fn new(epilogue: Option<&Epilogue<'_>>, bind: &mut BufferResolver<'_>) -> Self {
        let max = epilogue.and_then(|of| of.max_pool).map(|op| Maxima::new(op, bind));
        let adaptive = epilogue
            .and_then(|of| of.adaptive_pool)
            .map(|op| (bind.write(op.y), Geometry::new(bind.tensors(), op.x, op.y)));
        Self { max, adaptive }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.max.is_none() && self.adaptive.is_none()
    }

    /// The results in chunks of some images.
    pub(crate) fn chunks(
        &mut self,
        images: usize,
        total: usize,
    ) -> impl IndexedParallelIterator<Item = PooledChunk<'_>> {
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
        y.zip(chunks(adaptive, count)).map(move |((y, position), bins)| PooledChunk {
            max: max.zip(y).map(|((geometry, window), y)| MaximaChunk {
                geometry,
                window,
                y,
                position,
            }),
            adaptive: grid.zip(bins),
        })
    }
}

/// Chunks of a slice, or as many times nothing.
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
pub(crate) struct PooledChunk<'a> {
    max: Option<MaximaChunk<'a>>,
    adaptive: Option<(&'a Geometry, &'a mut [f32])>,
}

/// The results of maximum pooling for some images.
struct MaximaChunk<'a> {
    geometry: &'a Geometry,
    window: &'a Window,
    y: &'a mut [f32],
    position: Option<&'a mut [u8]>,
}

impl PooledChunk<'_> {
    /// Pools image `i` of the chunk.
    pub(crate) fn image(&mut self, i: usize, x: &[f32]) {
        if let Some(MaximaChunk { geometry: g, window, y, position }) = &mut self.max {
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

/// A rule of pooling with what it reads, image by image.
pub(crate) struct PoolRule {
    from: Input<f32>,
    position: Option<Input<u8>>,
    geometry: Geometry,
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
    /// Whether it writes the image, from the pooled side; otherwise it is the other way round.
    fn writes_image(&self) -> bool {
        matches!(self, Rule::MaxGrad(_) | Rule::AverageGrad(_) | Rule::AdaptiveGrad)
    }
}

impl PoolRule {
    fn new(
        rule: Rule,
        image: TensorId,
        pooled: TensorId,
        position: Option<TensorId>,
        bind: &mut BufferResolver<'_>,
    ) -> Self {
        Self {
            from: bind.read(if rule.writes_image() { pooled } else { image }),
            position: bind.resolve(&position),
            geometry: Geometry::new(bind.tensors(), image, pooled),
            rule,
        }
    }

    pub(crate) fn max_grad(op: &MaxPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        Self::new(Rule::MaxGrad(op.window), op.dx, op.dy, Some(op.position), bind)
    }

    pub(crate) fn adaptive_grad(op: &AdaptiveAvgPoolGrad, bind: &mut BufferResolver<'_>) -> Self {
        Self::new(Rule::AdaptiveGrad, op.dx, op.dy, None, bind)
    }

    /// Numbers of an image on the side that is read, and on the one that is written.
    fn lens(&self) -> [usize; 2] {
        let (image, pooled) = (self.geometry.image_len(), self.geometry.pooled_len());
        if self.rule.writes_image() { [pooled, image] } else { [image, pooled] }
    }

    /// Does image `i`.
    pub(crate) fn image(&self, i: usize, to: &mut [f32]) {
        let (g, [len, _]) = (&self.geometry, self.lens());
        let from = &self.from.get()[i * len..][..len];
        let positions = self
            .position
            .as_ref()
            .map_or(&[][..], |position| &position.get()[i * g.pooled_len()..][..g.pooled_len()]);
        match &self.rule {
            Rule::MaxGrad(window) => image::maximum_grad(g, window, from, positions, to),
            Rule::MaxTangent(window) => image::maximum_tangent(g, window, from, positions, to),
            Rule::Average(window) => image::average(g, window, from, to),
            Rule::AverageGrad(window) => image::average_grad(g, window, from, to),
            Rule::Adaptive => image::adaptive(g, from, to),
            Rule::AdaptiveGrad => image::adaptive_grad(g, from, to),
        }
    }
}

/// Any pooling operation that reads one tensor, and perhaps positions, and writes another.
struct Pool {
    rule: PoolRule,
    to: Output<f32>,
}

impl Kernel for Pool {
    fn run(&mut self, _: &mut Workspace<'_>) {
        let (rule, to, [from_len, to_len]) = (&self.rule, self.to.get(), self.rule.lens());
        if to_len == 0 || from_len == 0 {
            return to.fill(0.0);
        }
        let images = items_per_chunk(rule.geometry.image_len());
        to.par_chunks_mut(images * to_len).enumerate().for_each(|(chunk, to)| {
            for (i, to) in to.chunks_exact_mut(to_len).enumerate() {
                rule.image(chunk * images + i, to);
            }
        });
    }
}

macro_rules! pools {
    ($($name:ident(|$op:ident, $bind:ident| $rule:expr) writes $to:ident;)*) => {$(
        impl Compile for $name {
            fn kernel(&self, $bind: &mut BufferResolver<'_>) -> Box<dyn Kernel> {
                let $op = self;
                Box::new(Pool { rule: $rule, to: $bind.write($op.$to) })
            }
        }
    )*};
}

pools! {
    MaxPoolGrad(|op, bind| PoolRule::max_grad(op, bind)) writes dx;
    MaxPoolTangent(|op, bind| {
        PoolRule::new(Rule::MaxTangent(op.window), op.dx, op.dy, Some(op.position), bind)
    }) writes dy;
    AvgPool(|op, bind| PoolRule::new(Rule::Average(op.window), op.x, op.y, None, bind)) writes y;
    AvgPoolGrad(|op, bind| {
        PoolRule::new(Rule::AverageGrad(op.window), op.dx, op.dy, None, bind)
    }) writes dx;
    AdaptiveAvgPool(|op, bind| PoolRule::new(Rule::Adaptive, op.x, op.y, None, bind)) writes y;
    AdaptiveAvgPoolGrad(|op, bind| PoolRule::adaptive_grad(op, bind)) writes dx;
}
