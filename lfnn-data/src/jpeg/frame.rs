//! What a JPEG's frame header says: the size, and the components with their blocks.

/// One colour component.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks across and down in a unit of several components.
    pub(super) sampling: (usize, usize),
    /// Per coefficient: the lowest bit of it that has come; [`Component::NOTHING`] before any has.
    pub(super) lowest: [u8; 64],
    /// In a progressive file, per block: which coefficients are not zero so far. Later scans hold a
    /// bit for each of those.
    pub(super) set: Vec<u64>,
}

impl Component {
    pub(super) const NOTHING: u8 = u8::MAX;
}

/// The frame: one image.
pub(super) struct Frame {
    pub(super) progressive: bool,
    width: usize,
    height: usize,
    /// The largest sampling across and down.
    largest: (usize, usize),
    pub(super) components: Vec<Component>,
}

impl Frame {
    /// Reads a frame header without its length.
    pub(super) fn read(header: &[u8], progressive: bool) -> Option<Self> {
        let (&[_, h1, h0, w1, w0, count], rest) = header.split_first_chunk::<6>()?;
        let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
        let (height, width) = (side(h1, h0), side(w1, w0));
        let component = |&[id, sampling, _]: &[u8; 3]| Component {
            id,
            sampling: (usize::from(sampling >> 4), usize::from(sampling & 15)),
            lowest: [Component::NOTHING; 64],
            set: Vec::new(),
        };
        let components: Vec<_> = rest.as_chunks().0.iter().map(component).collect();
        let across = components.iter().map(|c| c.sampling.0);
        let down = components.iter().map(|c| c.sampling.1);
        let whole = components.len() == usize::from(count) && height > 0 && width > 0;
        if !whole || !across.clone().chain(down.clone()).all(|s| (1..=4).contains(&s)) {
            return None;
        }
        let largest = (across.max()?, down.max()?);
        Some(Self { progressive, width, height, largest, components })
    }

    /// The number of blocks of one component that a scan of it alone holds.
    pub(super) fn blocks(&self, component: usize) -> usize {
        let (across, down) = self.components[component].sampling;
        (self.width * across).div_ceil(8 * self.largest.0)
            * (self.height * down).div_ceil(8 * self.largest.1)
    }

    /// The number of units of a scan of several components.
    pub(super) fn units(&self) -> usize {
        self.width.div_ceil(8 * self.largest.0) * self.height.div_ceil(8 * self.largest.1)
    }

    /// Whether something of every component has come.
    pub(super) fn has_begun(&self) -> bool {
        self.components.iter().all(|component| component.lowest[0] != Component::NOTHING)
    }

    /// Whether everything has come: each coefficient down to its last bit.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.lowest == [0; 64])
    }
}
