//! Structures and constants that Rust and the kernels share: declared once, in Rust, from which their declaration in
//! CUDA C++ is made.

use std::marker::PhantomData;

use super::types::{Address, Argument, StructBytes};

/// Declares constants, and structures that kernels take by value. `declarations()` declares them in CUDA C++; a kernel
/// file is compiled after that.
macro_rules! shared_with_kernels {
    (
        $(constants {
            $($(#[$cdoc:meta])* $cvis:vis const $constant:ident: $cty:ty = $value:expr;)*
        })?
        $(structures {
            $(
                $(#[$doc:meta])*
                $vis:vis struct $name:ident {
                    $($(#[$fdoc:meta])* $fvis:vis $field:ident: $fty:ty,)*
                }
            )*
        })?
    ) => {
        $($($(#[$cdoc])* $cvis const $constant: $cty = $value;)*)?

        $($(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq)]
            $vis struct $name {
                $($(#[$fdoc])* $fvis $field: $fty,)*
            }

            impl $crate::plan::shared::Field for $name {
                const LAYOUT: (usize, usize) = $crate::plan::shared::layout(&[
                    $(<$fty as $crate::plan::shared::Field>::LAYOUT,)*
                ]);

                fn declare(name: &str) -> String {
                    format!("{} {name}", stringify!($name))
                }

                fn write(&self, to: &mut $crate::plan::StructBytes) {
                    $crate::plan::shared::align::<Self>(to);
                    $($crate::plan::shared::Field::write(&self.$field, to);)*
                    $crate::plan::shared::align::<Self>(to);
                }
            }

            impl $crate::plan::shared::Structure for $name {}
        )*)?

        /// The constants and structures of this file in CUDA C++.
        pub(crate) fn declarations() -> String {
            [
                $($($crate::plan::shared::constant(stringify!($constant), $constant as usize),)*)?
                $($({
                    let fields = [$((
                        <$fty as $crate::plan::shared::Field>::declare(stringify!($field)),
                        <$fty as $crate::plan::shared::Field>::LAYOUT,
                    ),)*];
                    $crate::plan::shared::structure::<$name>(stringify!($name), &fields)
                },)*)?
            ]
            .concat()
        }
    };
}
pub(crate) use shared_with_kernels;

/// A type that a structure for kernels may have as a field.
pub(crate) trait Field {
    /// Its size and alignment in bytes.
    const LAYOUT: (usize, usize);

    /// The declaration of a field of this type and name in CUDA C++.
    fn declare(name: &str) -> String;

    /// Appends its bytes where C++ has them.
    fn write(&self, to: &mut StructBytes);
}

/// A structure that kernels take by value.
pub(crate) trait Structure: Field {}

impl<S: Structure> From<&S> for Argument {
    fn from(structure: &S) -> Self {
        let mut bytes = StructBytes::default();
        structure.write(&mut bytes);
        Argument::Struct(bytes)
    }
}

/// The size and alignment of a structure with fields of these.
pub(crate) const fn layout(fields: &[(usize, usize)]) -> (usize, usize) {
    let (mut size, mut alignment, mut i) = (0usize, 1, 0);
    while i < fields.len() {
        size = size.next_multiple_of(fields[i].1) + fields[i].0;
        alignment = if fields[i].1 > alignment { fields[i].1 } else { alignment };
        i += 1;
    }
    (size.next_multiple_of(alignment), alignment)
}

/// Zeros up to the alignment of `T`.
pub(crate) fn align<T: Field>(to: &mut StructBytes) {
    to.bytes.resize(to.bytes.len().next_multiple_of(T::LAYOUT.1), 0);
}

/// The declaration of a structure with these fields and their layouts, with a check that the compiler gives it the size
/// that is passed. Padding has names, so that a copy in registers has whole words.
pub(crate) fn structure<T: Field>(name: &str, fields: &[(String, (usize, usize))]) -> String {
    let (mut text, mut size) = (format!("struct {name} {{\n"), 0);
    let pad = |text: &mut String, size: &mut usize, alignment: usize| {
        let aligned = size.next_multiple_of(alignment);
        if aligned > *size {
            text.push_str(&format!("    u32 padding_{size};\n"));
        }
        *size = aligned;
    };
    for (field, (bytes, alignment)) in fields {
        pad(&mut text, &mut size, *alignment);
        text.push_str(&format!("    {field};\n"));
        size += bytes;
    }
    pad(&mut text, &mut size, T::LAYOUT.1);
    let check =
        format!("static_assert(sizeof({name}) == {size}, \"the host passes {size} bytes\");\n");
    text + "};\n" + &check
}

/// The declaration of a constant.
pub(crate) fn constant(name: &str, value: usize) -> String {
    format!("#define {name} {value}\n")
}

/// A type that CUDA C++ has, too: of numbers, or behind pointers.
pub(crate) trait Named {
    /// Its name there.
    const NAME: &'static str;
}

macro_rules! named {
    ($($type:ty = $name:literal),*) => {
        $(impl Named for $type {
            const NAME: &'static str = $name;
        })*
    };
}
named!(u32 = "u32", f32 = "float", f64 = "double", u8 = "u8", Act = "act_t", () = "void");

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Field for $type {
            const LAYOUT: (usize, usize) = (size_of::<$type>(), size_of::<$type>());

            fn declare(name: &str) -> String {
                format!("{} {name}", <$type>::NAME)
            }

            fn write(&self, to: &mut StructBytes) {
                align::<Self>(to);
                to.bytes.extend(self.to_ne_bytes());
            }
        })*
    };
}
numbers!(u32, f32, f64);

impl<T: Field, const N: usize> Field for [T; N] {
    const LAYOUT: (usize, usize) = (N * T::LAYOUT.0, T::LAYOUT.1);

    fn declare(name: &str) -> String {
        T::declare(&format!("{name}[{N}]"))
    }

    fn write(&self, to: &mut StructBytes) {
        self.iter().for_each(|element| element.write(to));
    }
}

/// The type of activations in a kernel: of pointers to them only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {}

macro_rules! pointers {
    ($($(#[$doc:meta])* $name:ident = $format:literal),*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq)]
            pub(crate) struct $name<T>(Option<Address>, PhantomData<T>);

            impl<T> Default for $name<T> {
                fn default() -> Self {
                    Self(None, PhantomData)
                }
            }

            impl<T> From<Address> for $name<T> {
                fn from(address: Address) -> Self {
                    Self(Some(address), PhantomData)
                }
            }

            impl<T> From<Option<Address>> for $name<T> {
                fn from(address: Option<Address>) -> Self {
                    Self(address, PhantomData)
                }
            }

            impl<T: Named> Field for $name<T> {
                const LAYOUT: (usize, usize) = (8, 8);

                fn declare(name: &str) -> String {
                    format!($format, T::NAME, name)
                }

                fn write(&self, to: &mut StructBytes) {
                    align::<Self>(to);
                    to.pointers.extend(self.0.map(|address| (to.bytes.len(), address)));
                    to.bytes.extend([0; 8]);
                }
            }
        )*
    };
}
pointers! {
    /// A pointer that a kernel reads, or null.
    Input = "const {}* {}",
    /// A pointer that a kernel writes, or null.
    Output = "{}* {}"
}

#[cfg(test)]
mod tests {
    use super::*;

    shared_with_kernels! {
        constants {
            const COUNT: usize = 3;
        }
        structures {
            struct Inner {
                a: f64,
                b: u32,
            }
            struct Outer {
                first: u32,
                x: [Input<Act>; COUNT],
                inner: Inner,
                last: f32,
            }
        }
    }

    #[test]
    fn a_structure_has_the_bytes_and_the_declaration_of_c() {
        let x = [Some(Address::Scratch(5)), None, Some(Address::Scratch(6))].map(Input::from);
        let outer = Outer { first: 1, x, inner: Inner { a: 2.0, b: 3 }, last: 4.0 };
        let Argument::Struct(StructBytes { bytes, pointers }) = Argument::from(&outer) else {
            panic!("no structure");
        };
        assert_eq!(pointers, [(8, Address::Scratch(5)), (24, Address::Scratch(6))]);
        let words = [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0x4000_0000, 3, 0, 4.0f32.to_bits(), 0, 0, 0]];
        let expected: Vec<u8> =
            words.concat()[..14].iter().flat_map(|word| u32::to_ne_bytes(*word)).collect();
        assert_eq!(bytes, expected);
        assert_eq!(
            declarations(),
            "#define COUNT 3\n\
             struct Inner {\n    double a;\n    u32 b;\n    u32 padding_12;\n};\n\
             static_assert(sizeof(Inner) == 16, \"the host passes 16 bytes\");\n\
             struct Outer {\n    u32 first;\n    u32 padding_4;\n    const act_t* x[3];\n    Inner inner;\n    float last;\n    u32 padding_52;\n};\n\
             static_assert(sizeof(Outer) == 56, \"the host passes 56 bytes\");\n"
        );
    }
}
