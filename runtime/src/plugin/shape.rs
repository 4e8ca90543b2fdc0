//! What is looked at before a component is compiled: that it is one, and whole, and that compiling it ends. The compiler takes longer than in
//! proportion for long functions and for components within components, and cannot be interrupted.

use wasmparser::{Parser, Payload};

/// Far above what compilers make: the main loop of an interpreter has some hundred KiB.
const FUNCTION_BYTES_MAX: usize = 1 << 20;
/// Toolchains make two or three levels.
const DEPTH_MAX: usize = 16;

/// Why a file is not compiled. What else cannot be read of it is for the compiler to tell.
pub(super) fn refusal(bytes: &[u8]) -> Option<String> {
    match bytes {
        [] => return Some("it is empty".to_owned()),
        _ if !bytes.starts_with(b"\0asm") => return Some("it is no WebAssembly at all".to_owned()),
        [_, _, _, _, 1, 0, 0, 0, ..] => return Some("it is a core module, not a component".to_owned()),
        _ => {}
    }
    let cut = || Some(format!("it is cut off: it ends in the middle, after {} bytes", bytes.len()));
    let mut depth: usize = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. }) => {
                if unchecked_range.end > bytes.len() {
                    return cut();
                }
                depth += 1;
            }
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::CodeSectionEntry(body)) if body.range().len() > FUNCTION_BYTES_MAX => {
                return Some(format!("it has a function of {} bytes; {FUNCTION_BYTES_MAX} are allowed", body.range().len()));
            }
            Ok(_) => {}
            Err(error) if error.message().contains("unexpected end") => return cut(),
            Err(_) => break,
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
    }

    #[test]
    fn what_is_no_whole_component_is_refused() {
        let why = |bytes: &[u8]| refusal(bytes).unwrap_or_default();
        assert_eq!(why(b""), "it is empty");
        assert_eq!(why(b"nothing"), "it is no WebAssembly at all");
        assert_eq!(why(b"\0asm\x01\0\0\0"), "it is a core module, not a component");
        let inner = [&COMPONENT[..], &section(0, &[1, b'x', 7])].concat();
        let whole = [&COMPONENT[..], &section(4, &inner), &section(0, &[1, b'y', 7, 7])].concat();
        assert_eq!(refusal(&whole), None);
        // Between two sections what is left is a shorter component.
        let between = [COMPONENT.len(), COMPONENT.len() + section(4, &inner).len()];
        for end in 5..whole.len() {
            let is_told = why(&whole[..end]).starts_with("it is cut off");
            assert_eq!(is_told, !between.contains(&end), "{end}");
        }
    }
}
