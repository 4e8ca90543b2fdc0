//! A table as information_schema describes it, as a [`Relation`]: what `tidegate check` binds plugins to and holds against targets.
//!
//! What runs takes relations from TABLE_MAP events ([`super::binlog`]), which say the same of the same table.

use crate::change::{ColumnDef, KeyOrigin, Relation, SourceType};
use crate::source::binlog::plan::{address_of_type, dimensions_of_type, members_of_type};
use crate::source::{ColumnInfo, TableInfo};

impl TableInfo {
    /// The relation. `Err`: the name of a column whose type is not known.
    pub fn relation(&self, schema: &str, table: &str) -> Result<Relation, Box<str>> {
        let column = |c: &ColumnInfo| {
            let source_type = source_type(c).ok_or_else(|| c.name.clone())?;
            Ok(ColumnDef { name: c.name.clone(), source_type, nullable: c.nullable })
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>, Box<str>>>()?;
        let (key, key_origin) = match (&self.primary_key[..], &self.unique_key[..]) {
            ([], []) => (Vec::new(), KeyOrigin::WholeRow),
            ([], unique) => (unique.to_vec(), KeyOrigin::Unique),
            (primary, _) => (primary.to_vec(), KeyOrigin::Primary),
        };
        Ok(Relation { id: Relation::next_id(), schema: schema.into(), table: table.into(), columns, key, key_origin })
    }
}

/// From COLUMN_TYPE as MySQL and MariaDB write it.
pub(super) fn source_type(column: &ColumnInfo) -> Option<SourceType> {
    let text = &*column.column_type;
    let word = text.split([' ', '(']).next()?;
    let numbers: Vec<u32> = match text.split_once('(').and_then(|(_, rest)| rest.split_once(')')) {
        Some((inside, _)) => inside.split(',').map_while(|n| n.trim().parse().ok()).collect(),
        None => Vec::new(),
    };
    let number = |at: usize, default: u32| numbers.get(at).copied().unwrap_or(default);
    let unsigned = text.contains(" unsigned");
    let collation = column.collation.unwrap_or_default();
    let fsp = number(0, 0) as u8;
    let length = number(0, 1);
    let int = |bits| SourceType::Int { bits, unsigned };
    let text_type = |length_bytes| SourceType::Text { length_bytes, collation };
    Some(match word {
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" => int(32),
        "bigint" => int(64),
        "float" => SourceType::Float,
        "double" => SourceType::Double,
        "decimal" => SourceType::Decimal { precision: number(0, 10) as u8, scale: number(1, 0) as u8, unsigned },
        "bit" => SourceType::Bit { bits: length as u8 },
        "year" => SourceType::Year,
        "date" => SourceType::Date,
        "time" => SourceType::Time { fsp },
        "datetime" => SourceType::DateTime { fsp },
        "timestamp" => SourceType::Timestamp { fsp },
        "char" => SourceType::Char { length, collation },
        "varchar" => SourceType::VarChar { length, collation },
        "tinytext" => text_type(1),
        "text" => text_type(2),
        "mediumtext" => text_type(3),
        "longtext" => text_type(4),
        "binary" => SourceType::Binary { length },
        "varbinary" => SourceType::VarBinary { length },
        "tinyblob" => SourceType::Blob { length_bytes: 1 },
        "blob" => SourceType::Blob { length_bytes: 2 },
        "mediumblob" => SourceType::Blob { length_bytes: 3 },
        "longblob" => SourceType::Blob { length_bytes: 4 },
        "enum" => SourceType::Enum { members: members_of_type(text)?.into(), collation },
        "set" => SourceType::Set { members: members_of_type(text)?.into(), collation },
        "json" => SourceType::Json,
        "vector" => SourceType::Vector { dimensions: dimensions_of_type(text)? },
        "uuid" | "inet6" | "inet4" => SourceType::Address(address_of_type(text)?),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => SourceType::Geometry,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(column_type: &str) -> ColumnInfo {
        ColumnInfo {
            name: "c".into(),
            column_type: column_type.into(),
            collation: None,
            nullable: true,
            virtual_generated: false,
            invisible: false,
            default: None,
        }
    }

    /// The types print as the server writes them, so that reading must give back what was written.
    #[test]
    fn types_are_read_as_the_server_writes_them() {
        for text in [
            "tinyint",
            "bigint unsigned",
            "decimal(10,2) unsigned",
            "bit(7)",
            "year",
            "date",
            "time(3)",
            "datetime",
            "timestamp(6)",
            "char(3)",
            "varchar(55)",
            "longtext",
            "varbinary(9)",
            "mediumblob",
            "enum('a','b''c')",
            "set('x')",
            "json",
            "geometry",
            "enum('back\\\\slash','new\\nline')",
            "vector(3)",
            "uuid",
            "inet6",
            "inet4",
        ] {
            assert_eq!(source_type(&column(text)).unwrap().to_string(), text);
        }
        assert_eq!(source_type(&column("int(11) unsigned zerofill")).unwrap().to_string(), "int unsigned");
        assert_eq!(source_type(&column("year(4)")), Some(SourceType::Year));
        assert_eq!(source_type(&column("row")), None);
    }

    #[test]
    fn the_key_is_the_best_there_is() {
        let table = |primary_key: &[u16], unique_key: &[u16]| TableInfo {
            columns: vec![column("int"), column("int")],
            primary_key: primary_key.to_vec(),
            unique_key: unique_key.to_vec(),
            hashes_max: 0,
        };
        let key = |info: TableInfo| info.relation("s", "t").map(|r| (r.key, r.key_origin)).unwrap();
        assert_eq!(key(table(&[0], &[1])), (vec![0], KeyOrigin::Primary));
        assert_eq!(key(table(&[], &[1])), (vec![1], KeyOrigin::Unique));
        assert_eq!(key(table(&[], &[])), (vec![], KeyOrigin::WholeRow));
    }
}
