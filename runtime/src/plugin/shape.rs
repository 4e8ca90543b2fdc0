//! What is looked at before a component is compiled: that compiling it ends. The compiler takes longer than in proportion for long
//! functions and for components within components, and cannot be interrupted.

use wasmparser::{Parser, Payload};

/// Far above what compilers make: the main loop of an interpreter has some hundred KiB.
const FUNCTION_BYTES_MAX: usize = 1 << 20;
/// Toolchains make two or three levels.
const DEPTH_MAX: usize = 16;

/// Why a component is not compiled. What cannot be read of it is for the compiler to tell.
pub(super) fn refusal(bytes: &[u8]) -> Option<String> {
    let mut depth: usize = 0;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionEntry(body) if body.range().len() > FUNCTION_BYTES_MAX => {
                return Some(format!("it has a function of {} bytes; {FUNCTION_BYTES_MAX} are allowed", body.range().len()));
            }
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Some(format!("it has components within components, more than {DEPTH_MAX} deep"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

    fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], &*leb(content.len()), content].concat()
    }

    #[test]
    fn what_takes_for_ever_to_compile_is_refused() {
        let nested = |depth| (0..depth).fold(COMPONENT.to_vec(), |inner, _| [&COMPONENT[..], &section(4, &inner)].concat());
        assert_eq!(refusal(&nested(DEPTH_MAX)), None);
        assert!(refusal(&nested(20_000)).is_some_and(|why| why.contains("within components")));
        let with_function = |length: usize| {
            let body = [&[0], &*vec![1; length - 2], &[0x0b]].concat();
            let code = [&[1], &*leb(body.len()), &body[..]].concat();
            let module = [b"\0asm\x01\0\0\0", &*section(1, &[1, 0x60, 0, 0]), &section(3, &[1, 0]), &section(10, &code)].concat();
            [&COMPONENT[..], &section(1, &module)].concat()
        };
        assert_eq!(refusal(&with_function(FUNCTION_BYTES_MAX)), None);
        assert!(refusal(&with_function(FUNCTION_BYTES_MAX + 1)).is_some_and(|why| why.contains("a function of 1048577 bytes")));
        assert_eq!(refusal(b"nothing"), None);
    }
}
