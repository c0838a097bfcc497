//! A walk through the blocks of one scan. Nothing is decoded but the lengths of what is there.

use super::bits::{Bits, Fault, Table, Tables};
use super::frame::Frame;

/// Padding after the last block, as some encoders write it. More than that means that the walk went
/// astray, because the data is not what was encoded.
const MOST_PADDING: usize = 16;

/// One component of a scan.
struct Part<'t> {
    /// Which component of the frame.
    component: usize,
    dc: Option<&'t Table>,
    ac: Option<&'t Table>,
}

/// What the blocks of a scan hold.
#[derive(Clone, Copy)]
enum Kind {
    /// Everything.
    Whole,
    /// The mean, or a further bit of it.
    Dc { refine: bool },
    /// A range of the other coefficients, or a further bit of them.
    Ac { refine: bool },
}

/// A scan header, and the tables it names.
pub(super) struct Scan<'t> {
    parts: Vec<Part<'t>>,
    kind: Kind,
    /// The first and the last coefficient.
    range: (usize, usize),
    /// The lowest bit of them that this scan brings.
    lowest: u8,
    /// Blocks from here on that hold nothing new.
    empty: u32,
}

impl<'t> Scan<'t> {
    /// Reads a scan header without its length.
    pub(super) fn read(header: &[u8], frame: &Frame, tables: &'t Tables) -> Option<Self> {
        let (&count, rest) = header.split_first()?;
        let (named, &[first, last, bits]) = rest.split_at_checked(2 * usize::from(count))? else {
            return None;
        };
        let part = |&[id, table]: &[u8; 2]| {
            Some(Part {
                component: frame.components.iter().position(|component| component.id == id)?,
                dc: tables.dc(table >> 4),
                ac: tables.ac(table & 15),
            })
        };
        let parts = named.as_chunks().0.iter().map(part).collect::<Option<Vec<_>>>()?;
        let (refine, lowest) = (bits >> 4 != 0, bits & 15);
        let kind = match (frame.progressive, first) {
            (false, _) => Kind::Whole,
            (true, 0) if last == 0 => Kind::Dc { refine },
            (true, 1..) if first <= last && last < 64 && parts.len() == 1 => Kind::Ac { refine },
            _ => return None,
        };
        let (range, lowest) = match kind {
            Kind::Whole => ((0, 63), 0),
            _ => ((usize::from(first), usize::from(last)), lowest),
        };
        let has_tables = parts.iter().all(|part| match kind {
            Kind::Whole => part.dc.is_some() && part.ac.is_some(),
            Kind::Dc { refine } => refine || part.dc.is_some(),
            Kind::Ac { .. } => part.ac.is_some(),
        });
        let right = !parts.is_empty() && has_tables;
        right.then_some(Self { parts, kind, range, lowest, empty: 0 })
    }

    /// Walks through all blocks; there are `interval` units between restart markers, if it is not 0.
    pub(super) fn walk(
        mut self,
        bits: &mut Bits<'_>,
        frame: &mut Frame,
        interval: usize,
    ) -> Result<(), String> {
        let alone = self.parts.len() == 1;
        let units = if alone { frame.blocks(self.parts[0].component) } else { frame.units() };
        if let Kind::Ac { .. } = self.kind {
            frame.components[self.parts[0].component].set.resize(units, 0);
        }
        for unit in 0..units {
            let restart = interval > 0 && unit > 0 && unit % interval == 0;
            let fault = |fault: Fault| match fault {
                Fault::Ends => format!("ends after {unit} of {units} blocks"),
                Fault::Nonsense => format!("is broken in block {unit} of {units}"),
            };
            if restart {
                padding(bits)?;
                self.empty = 0;
                bits.pass_restart().then_some(()).ok_or_else(|| fault(Fault::Ends))?;
            }
            let walked =
                if alone { self.block(bits, frame, 0, unit) } else { self.unit(bits, frame) };
            walked.map_err(fault)?;
        }
        padding(bits)?;
        for part in &self.parts {
            let (first, last) = self.range;
            frame.components[part.component].lowest[first..=last].fill(self.lowest);
        }
        Ok(())
    }

    /// The blocks of all components that are interleaved.
    fn unit(&mut self, bits: &mut Bits<'_>, frame: &mut Frame) -> Result<(), Fault> {
        for part in 0..self.parts.len() {
            let (across, down) = frame.components[self.parts[part].component].sampling;
            for _ in 0..across * down {
                // Only a scan of one component asks which block it is.
                self.block(bits, frame, part, 0)?;
            }
        }
        Ok(())
    }

    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        frame: &mut Frame,
        part: usize,
        block: usize,
    ) -> Result<(), Fault> {
        let Part { component, dc, ac } = self.parts[part];
        match (self.kind, dc, ac) {
            (Kind::Whole, Some(dc), Some(ac)) => {
                mean(bits, dc)?;
                self.first(bits, ac, 1, &mut 0)
            }
            (Kind::Dc { refine: true }, ..) => bits.number(1).map(drop),
            (Kind::Dc { refine: false }, Some(dc), _) => mean(bits, dc),
            (Kind::Ac { refine }, _, Some(ac)) => {
                let sets = &mut frame.components[component].set;
                let set = sets.get_mut(block).ok_or(Fault::Nonsense)?;
                if refine {
                    self.refine(bits, ac, set)
                } else {
                    self.first(bits, ac, self.range.0, set)
                }
            }
            // `read` has seen that the tables are there.
            _ => Err(Fault::Nonsense),
        }
    }

    /// The first bits of coefficients from `at` on.
    fn first(
        &mut self,
        bits: &mut Bits<'_>,
        ac: &Table,
        mut at: usize,
        set: &mut u64,
    ) -> Result<(), Fault> {
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(());
        }
        while at <= self.range.1 {
            let value = bits.value(ac)?;
            let (zeros, size) = (usize::from(value >> 4), u32::from(value & 15));
            at += zeros;
            match (size, zeros) {
                (0, 15) => {}
                (0, _) => {
                    self.empty = self.empty_blocks(bits, zeros)? - 1;
                    return Ok(());
                }
                (..) if at > self.range.1 => return Err(Fault::Nonsense),
                _ => {
                    bits.number(size)?;
                    *set |= 1 << at;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// How many blocks hold nothing more, this one included.
    fn empty_blocks(&self, bits: &mut Bits<'_>, size: usize) -> Result<u32, Fault> {
        match self.kind {
            Kind::Ac { .. } => Ok((1 << size) + bits.number(size as u32)?),
            _ => Ok(1),
        }
    }

    /// A further bit of the coefficients that are not zero, and the first one of others.
    fn refine(&mut self, bits: &mut Bits<'_>, ac: &Table, set: &mut u64) -> Result<(), Fault> {
        let (mut at, last) = self.range;
        while self.empty == 0 && at <= last {
            let value = bits.value(ac)?;
            let (mut zeros, size) = (usize::from(value >> 4), value & 15);
            match (size, zeros) {
                (0, 15) => {}
                (0, _) => {
                    self.empty = self.empty_blocks(bits, zeros)?;
                    break;
                }
                _ => bits.number(1).map(drop)?,
            }
            while at <= last {
                if *set >> at & 1 == 1 {
                    bits.number(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size > 0 {
                if at > last {
                    return Err(Fault::Nonsense);
                }
                *set |= 1 << at;
            }
            at += 1;
        }
        if self.empty > 0 {
            let rest = (at..=last).filter(|at| *set >> at & 1 == 1).count();
            for _ in 0..rest {
                bits.number(1)?;
            }
            self.empty -= 1;
        }
        Ok(())
    }
}

/// The mean of a block, as a difference.
fn mean(bits: &mut Bits<'_>, dc: &Table) -> Result<(), Fault> {
    match bits.value(dc)? {
        size @ 0..=16 => bits.number(size.into()).map(drop),
        _ => Err(Fault::Nonsense),
    }
}

/// Passes what is left before a marker.
fn padding(bits: &mut Bits<'_>) -> Result<(), String> {
    let rest = bits.pass_rest();
    let most = if bits.is_at_end() { 0 } else { MOST_PADDING };
    if rest > most {
        Err(format!("continues for {rest} bytes after its last block"))
    } else {
        Ok(())
    }
}
