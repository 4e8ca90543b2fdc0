//! Data types of column definitions: what a statement says, and what the server makes of it.

use super::ddl::{NotUnderstood, Reader};
use super::names::{bytes_per_char, charset_of};
use super::token::Token;

/// A data type, before it is known what its character set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    /// As information_schema writes it.
    Plain(Box<str>),
    /// CHAR and VARCHAR of so many characters.
    Char {
        varying: bool,
        length: u32,
    },
    /// TINYTEXT to LONGTEXT: 1 to 4 length bytes.
    Text(u8),
    /// TEXT(n): the smallest that holds so many characters.
    SizedText(u32),
    Members {
        set: bool,
        members: Vec<String>,
    },
}

/// What a definition says about the character set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextAttributes {
    pub charset: Option<String>,
    pub collation: Option<String>,
    /// BINARY: the `_bin` collation.
    pub binary: bool,
}

impl TextAttributes {
    pub fn of_charset(charset: &str) -> TextAttributes {
        TextAttributes { charset: Some(charset.to_owned()), ..TextAttributes::default() }
    }

    pub fn is_said(&self) -> bool {
        self.charset.is_some() || self.collation.is_some() || self.binary
    }
}

const TEXTS: [&str; 4] = ["tinytext", "text", "mediumtext", "longtext"];
const BLOBS: [&str; 4] = ["tinyblob", "blob", "mediumblob", "longblob"];

/// The length bytes of the smallest TEXT or BLOB that holds so many bytes.
fn length_bytes(bytes: u64) -> u8 {
    match bytes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}

/// The most bytes of a VARCHAR or VARBINARY; a longer one becomes a TEXT or BLOB where the session is not strict.
const VARYING_MAX: u64 = 65_535;

fn is_too_long(length: u32, collation: u16) -> bool {
    charset_of(collation).is_some() && u64::from(length) * u64::from(bytes_per_char(collation)) > VARYING_MAX
}

fn varying_binary(length: u32) -> String {
    if u64::from(length) > VARYING_MAX {
        return BLOBS[usize::from(length_bytes(u64::from(length))) - 1].to_owned();
    }
    format!("varbinary({length})")
}

impl DataType {
    fn plain(text: impl Into<Box<str>>) -> DataType {
        DataType::Plain(text.into())
    }

    pub fn is_text(&self) -> bool {
        !matches!(self, DataType::Plain(_))
    }

    /// As information_schema writes it, once the collation is known; and its collation, if it is a text.
    pub fn resolve(&self, collation: u16) -> (Box<str>, Option<u16>) {
        let is_binary = charset_of(collation) == Some("binary");
        match self {
            DataType::Plain(text) => (text.clone(), None),
            DataType::Char { varying: true, length } if is_binary => (varying_binary(*length).into(), None),
            DataType::Char { varying, length } if is_binary => {
                (format!("{}binary({length})", if *varying { "var" } else { "" }).into(), None)
            }
            // In a session that is not strict.
            DataType::Char { varying: true, length } if is_too_long(*length, collation) => {
                DataType::SizedText(*length).resolve(collation)
            }
            DataType::Char { varying, length } => {
                (format!("{}char({length})", if *varying { "var" } else { "" }).into(), Some(collation))
            }
            DataType::Text(bytes) if is_binary => (BLOBS[usize::from(*bytes) - 1].into(), None),
            DataType::Text(bytes) => (TEXTS[usize::from(*bytes) - 1].into(), Some(collation)),
            DataType::SizedText(length) => {
                DataType::Text(length_bytes(u64::from(*length) * u64::from(bytes_per_char(collation)))).resolve(collation)
            }
            DataType::Members { set, members } => {
                // Blanks at the end count in the character set binary alone.
                let kept = |member: &'_ str| if is_binary { member.to_owned() } else { member.trim_end_matches(' ').to_owned() };
                let members: Vec<String> = members.iter().map(|m| quoted(&kept(m))).collect();
                (format!("{}({})", if *set { "set" } else { "enum" }, members.join(",")).into(), Some(collation))
            }
        }
    }
}

/// A member as information_schema writes it.
fn quoted(member: &str) -> String {
    let mut out = String::from("'");
    for c in member.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// CONVERT TO CHARACTER SET: a TEXT keeps room for as many characters, and so does a VARCHAR that becomes too long.
pub fn converted(column_type: &str, from: u16, to: u16) -> Box<str> {
    let length = column_type.strip_prefix("varchar(").and_then(|rest| rest.strip_suffix(')')?.parse().ok());
    if let Some(length) = length.filter(|length| is_too_long(*length, to)) {
        return DataType::SizedText(length).resolve(to).0;
    }
    let grows = bytes_per_char(to) > bytes_per_char(from);
    match TEXTS.iter().position(|t| *t == column_type) {
        Some(at) if grows && at + 1 < TEXTS.len() => TEXTS[at + 1].into(),
        _ => column_type.into(),
    }
}

/// Reads a data type, with UNSIGNED and ZEROFILL, and what it says about the character set. SERIAL is left to the caller.
pub fn read(r: &mut Reader<'_, '_>) -> Result<(DataType, TextAttributes), NotUnderstood> {
    let Some(Token::Word(word)) = r.take() else { return Err(NotUnderstood) };
    let word = word.to_ascii_lowercase();
    let none = TextAttributes::default;
    let data_type = match word.as_str() {
        "bool" | "boolean" => DataType::plain("tinyint"),
        "tinyint" | "int1" => int(r, "tinyint")?,
        "smallint" | "int2" => int(r, "smallint")?,
        "mediumint" | "int3" | "middleint" => int(r, "mediumint")?,
        "int" | "integer" | "int4" => int(r, "int")?,
        "bigint" | "int8" => int(r, "bigint")?,
        "float4" => approximate(r, "float")?,
        "float8" => approximate(r, "double")?,
        "float" => match r.numbers()?[..] {
            [] => sign(r, "float".into()),
            [bits] if bits <= 24 => sign(r, "float".into()),
            [bits] if bits <= 53 => sign(r, "double".into()),
            [p, s] => sign(r, format!("float({p},{s})")),
            _ => return Err(NotUnderstood),
        },
        "double" => {
            r.accept("PRECISION");
            approximate(r, "double")?
        }
        "real" => approximate(r, if r.dialect.real_as_float { "float" } else { "double" })?,
        "decimal" | "dec" | "numeric" | "fixed" => match r.numbers()?[..] {
            [] | [0] => sign(r, "decimal(10,0)".into()),
            [p] => sign(r, format!("decimal({p},0)")),
            [0, s] => sign(r, format!("decimal(10,{s})")),
            [p, s] => sign(r, format!("decimal({p},{s})")),
            _ => return Err(NotUnderstood),
        },
        // Oracle's name, in MariaDB.
        "number" if r.dialect.mariadb => return Err(NotUnderstood),
        "bit" => DataType::plain(format!("bit({})", one(r)?.unwrap_or(1).max(1))),
        "year" => {
            r.numbers()?;
            // YEAR UNSIGNED is one, too.
            sign(r, String::new());
            DataType::plain("year")
        }
        "date" => DataType::plain("date"),
        "time" | "datetime" | "timestamp" => match one(r)?.unwrap_or(0) {
            0 => DataType::plain(word),
            fsp => DataType::plain(format!("{word}({fsp})")),
        },
        "char" | "character" | "nchar" => {
            let varying = r.accept("VARYING") || r.accept("VARCHAR");
            return characters(r, varying, word == "nchar");
        }
        "varchar" | "varcharacter" => return characters(r, true, false),
        "nvarchar" => return characters(r, true, true),
        "national" => {
            let varying = if r.accept("VARCHAR") || r.accept("VARCHARACTER") {
                true
            } else {
                r.expect_any(&["CHAR", "CHARACTER"])?;
                r.accept("VARYING")
            };
            return characters(r, varying, true);
        }
        "binary" => DataType::plain(format!("binary({})", one(r)?.unwrap_or(1))),
        "varbinary" => DataType::plain(varying_binary(one(r)?.ok_or(NotUnderstood)?)),
        "tinytext" => DataType::Text(1),
        "text" => one(r)?.filter(|n| *n > 0).map_or(DataType::Text(2), DataType::SizedText),
        "mediumtext" => DataType::Text(3),
        "longtext" => DataType::Text(4),
        "tinyblob" => DataType::plain(BLOBS[0]),
        "blob" => {
            let bytes = one(r)?.filter(|n| *n > 0).map_or(2, |n| length_bytes(u64::from(n)));
            DataType::plain(BLOBS[usize::from(bytes) - 1])
        }
        "mediumblob" => DataType::plain(BLOBS[2]),
        "longblob" => DataType::plain(BLOBS[3]),
        "long" => {
            if r.accept("VARBINARY") {
                return Ok((DataType::plain(BLOBS[2]), none()));
            }
            if r.accept("CHAR") || r.accept("CHARACTER") {
                r.expect("VARYING")?;
            } else {
                r.accept("VARCHAR");
                r.accept("VARCHARACTER");
            }
            DataType::Text(3)
        }
        "enum" | "set" => DataType::Members { set: word == "set", members: members(r)? },
        "json" if r.dialect.mariadb => {
            let collation = Some("utf8mb4_bin".to_owned());
            return Ok((DataType::Text(4), TextAttributes { collation, ..none() }));
        }
        "json" => DataType::plain("json"),
        "vector" => match r.dialect.mariadb {
            true => DataType::plain(format!("vector({})", one(r)?.ok_or(NotUnderstood)?)),
            false => DataType::plain(format!("vector({})", one(r)?.unwrap_or(2048))),
        },
        "uuid" | "inet4" | "inet6" if r.dialect.mariadb => DataType::plain(word),
        "geometrycollection" if !r.dialect.mariadb => DataType::plain("geomcollection"),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => DataType::plain(word),
        _ => return Err(NotUnderstood),
    };
    Ok((data_type, none()))
}

fn one(r: &mut Reader<'_, '_>) -> Result<Option<u32>, NotUnderstood> {
    match r.numbers()?[..] {
        [] => Ok(None),
        [n] => Ok(Some(n)),
        _ => Err(NotUnderstood),
    }
}

fn int(r: &mut Reader<'_, '_>, name: &str) -> Result<DataType, NotUnderstood> {
    one(r)?;
    Ok(sign(r, name.to_owned()))
}

fn approximate(r: &mut Reader<'_, '_>, name: &str) -> Result<DataType, NotUnderstood> {
    match r.numbers()?[..] {
        [] => Ok(sign(r, name.to_owned())),
        [p, s] => Ok(sign(r, format!("{name}({p},{s})"))),
        _ => Err(NotUnderstood),
    }
}

/// ZEROFILL makes a type unsigned.
fn sign(r: &mut Reader<'_, '_>, mut name: String) -> DataType {
    let (mut unsigned, mut zerofill) = (false, false);
    loop {
        if r.accept("UNSIGNED") {
            unsigned = true;
        } else if r.accept("ZEROFILL") {
            zerofill = true;
        } else if !r.accept("SIGNED") {
            break;
        }
    }
    if unsigned || zerofill {
        name.push_str(" unsigned");
    }
    if zerofill {
        name.push_str(" zerofill");
    }
    DataType::plain(name)
}

fn characters(r: &mut Reader<'_, '_>, varying: bool, national: bool) -> Result<(DataType, TextAttributes), NotUnderstood> {
    let length = match one(r)? {
        Some(length) => length,
        None if varying => return Err(NotUnderstood),
        None => 1,
    };
    let attributes = if national { TextAttributes::of_charset("utf8mb3") } else { TextAttributes::default() };
    Ok((DataType::Char { varying, length }, attributes))
}

fn members(r: &mut Reader<'_, '_>) -> Result<Vec<String>, NotUnderstood> {
    r.expect_punct('(')?;
    let mut members = Vec::new();
    loop {
        match r.take() {
            // With a replacement character: bytes that were no characters.
            Some(Token::Text(member)) if !member.contains('\u{fffd}') => members.push(member.clone()),
            // x'..', b'..', _latin1'..': nobody writes members so.
            _ => return Err(NotUnderstood),
        }
        if !r.accept_punct(',') {
            r.expect_punct(')')?;
            return Ok(members);
        }
    }
}
