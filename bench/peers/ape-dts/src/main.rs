//! Reads a binlog with the reader of ape-dts, every column of every row decoded, and prints how many rows it had.
//!
//! usage: peer-ape-dts PORT FILE END_FILE END_OFFSET

use std::error::Error;
use std::hint::black_box;

use mysql_binlog_connector_rust::binlog_client::{BinlogClient, StartPosition};
use mysql_binlog_connector_rust::event::event_data::EventData;

#[async_std::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, file, end_file, end_offset] = arguments.as_slice() else { return Err("PORT FILE END_FILE END_OFFSET".into()) };
    let end_offset: u32 = end_offset.parse()?;
    let url = format!("mysql://peer:peer@127.0.0.1:{port}");
    let mut client = BinlogClient::new(&url, 7001, StartPosition::BinlogPosition(file.clone(), 4));
    let mut stream = client.connect().await?;
    let (mut rows, mut at) = (0, file.clone());
    loop {
        let (header, data) = stream.read().await?;
        rows += match &data {
            EventData::WriteRows(event) => event.rows.len(),
            EventData::UpdateRows(event) => event.rows.len(),
            EventData::DeleteRows(event) => event.rows.len(),
            EventData::TransactionPayload(event) => return Err(format!("a payload of {} bytes", event.uncompressed_size).into()),
            _ => 0,
        };
        if let EventData::Rotate(event) = &data {
            at.clone_from(&event.binlog_filename);
        }
        black_box(&data);
        if at == *end_file && header.next_event_position >= end_offset {
            break;
        }
    }
    println!("{rows}");
    Ok(())
}
