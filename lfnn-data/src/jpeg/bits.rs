//! Bits of entropy-coded data, and the Huffman codes in them.

/// How many bits the table of short codes looks at.
const SHORT: u32 = 8;
const LONGEST: usize = 16;

/// A Huffman code: bits to bytes.
pub(super) struct Table {
    /// By the next [`SHORT`] bits: the length of the code and its value; a length of 0 for a longer
    /// code.
    short: [(u8, u8); 1 << SHORT],
    /// By length: one more than the largest code of it.
    ends: [u32; LONGEST + 1],
    /// By length: what to subtract from a code for the position of its value.
    bases: [u32; LONGEST + 1],
    values: Vec<u8>,
}

impl Table {
    /// The code with so many words of each length from 1 on; none if the lengths allow no code.
    pub(super) fn new(lengths: [u8; LONGEST], values: &[u8]) -> Option<Self> {
        let (mut short, mut ends) = ([(0, 0); 1 << SHORT], [0; LONGEST + 1]);
        let (mut bases, mut code, mut position) = ([0; LONGEST + 1], 0u32, 0u32);
        for (length, &count) in (1u32..).zip(&lengths) {
            bases[length as usize] = code.wrapping_sub(position);
            for _ in 0..count {
                let value = *values.get(position as usize)?;
                if code >> length != 0 {
                    return None;
                }
                if length <= SHORT {
                    let first = (code << (SHORT - length)) as usize;
                    short[first..first + (1 << (SHORT - length))].fill((length as u8, value));
                }
                (code, position) = (code + 1, position + 1);
            }
            ends[length as usize] = code;
            code <<= 1;
        }
        Some(Self { short, ends, bases, values: values.to_vec() })
    }
}

/// The Huffman tables of a file, by class (DC, AC) and number.
#[derive(Default)]
pub(super) struct Tables([[Option<Table>; 4]; 2]);

impl Tables {
    /// Reads a segment without its length.
    pub(super) fn read(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&[place], rest)) = segment.split_first_chunk() {
            let (lengths, rest) = rest.split_first_chunk::<16>()?;
            let count = lengths.iter().map(|&count| usize::from(count)).sum();
            let (values, rest) = rest.split_at_checked(count)?;
            let slot = self.0.get_mut(usize::from(place >> 4))?.get_mut(usize::from(place & 15))?;
            *slot = Some(Table::new(*lengths, values)?);
            segment = rest;
        }
        Some(())
    }

    pub(super) fn dc(&self, number: u8) -> Option<&Table> {
        self.0[0].get(usize::from(number))?.as_ref()
    }

    pub(super) fn ac(&self, number: u8) -> Option<&Table> {
        self.0[1].get(usize::from(number))?.as_ref()
    }
}

/// What can be wrong with the data of a block.
pub(super) enum Fault {
    /// There is no more.
    Ends,
    /// It is no code, or more than a block holds.
    Nonsense,
}

/// A reader of the data between two markers.
pub(super) struct Bits<'a> {
    file: &'a [u8],
    /// The next byte of the file.
    at: usize,
    /// The bits taken from the file and not yet used, the last one lowest.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(file: &'a [u8], at: usize) -> Self {
        Self { file, at, buffer: 0, count: 0 }
    }

    /// Takes as many bytes as there is room for, up to a marker or the end of the file.
    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match (self.file.get(self.at), self.file.get(self.at + 1)) {
                // In the data, 0xff is followed by a zero; by anything else it is a marker.
                (Some(0xff), Some(0)) => {
                    self.at += 1;
                    0xff
                }
                (Some(0xff), _) | (None, _) => return,
                (Some(&byte), _) => byte,
            };
            self.at += 1;
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next bits, at most 16, with zeros for those that are missing.
    fn peek(&self, bits: u32) -> u32 {
        let all = match self.count.checked_sub(bits) {
            Some(rest) => self.buffer >> rest,
            None => self.buffer << (bits - self.count),
        };
        (all & ((1 << bits) - 1)) as u32
    }

    fn take(&mut self, bits: u32) -> Result<(), Fault> {
        self.count = self.count.checked_sub(bits).ok_or(Fault::Ends)?;
        Ok(())
    }

    /// The next bits as a number, at most 16.
    pub(super) fn number(&mut self, bits: u32) -> Result<u32, Fault> {
        if self.count < bits {
            self.fill();
        }
        let number = self.peek(bits);
        self.take(bits)?;
        Ok(number)
    }

    /// The value of the next code.
    pub(super) fn value(&mut self, table: &Table) -> Result<u8, Fault> {
        if self.count < LONGEST as u32 {
            self.fill();
        }
        let (length, value) = table.short[self.peek(SHORT) as usize];
        if length > 0 {
            self.take(length.into())?;
            return Ok(value);
        }
        for length in SHORT + 1..=LONGEST as u32 {
            let code = self.peek(length);
            if code < table.ends[length as usize] {
                self.take(length)?;
                let position = code.wrapping_sub(table.bases[length as usize]);
                return table.values.get(position as usize).copied().ok_or(Fault::Nonsense);
            }
        }
        Err(if self.count < LONGEST as u32 { Fault::Ends } else { Fault::Nonsense })
    }

    /// Goes to the next marker, of which it leaves the last 0xff ahead, or to the end of the file;
    /// returns how many whole bytes of data it passed.
    pub(super) fn pass_rest(&mut self) -> usize {
        let mut rest = (self.count / 8) as usize;
        self.count = 0;
        while let Some(&byte) = self.file.get(self.at) {
            match (byte, self.file.get(self.at + 1)) {
                (0xff, Some(0)) => self.at += 1,
                // Any number of them may precede a marker.
                (0xff, Some(0xff)) => {
                    self.at += 1;
                    continue;
                }
                (0xff, Some(_)) => break,
                _ => {}
            }
            self.at += 1;
            rest += 1;
        }
        rest
    }

    /// Passes a restart marker, if one is next.
    pub(super) fn pass_restart(&mut self) -> bool {
        let next = matches!(self.file.get(self.at..), Some([0xff, 0xd0..=0xd7, ..]));
        self.at += if next { 2 } else { 0 };
        next
    }

    /// Whether no marker follows, after [`Bits::pass_rest`].
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.file.len()
    }

    /// Where the reader is in the file, after [`Bits::pass_rest`].
    pub(super) fn position(&self) -> usize {
        self.at
    }
}
