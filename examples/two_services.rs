//! Two services that find and call each other, and neither knows where the other is: each has one
//! connection to the engine and names functions. It does not matter which of them starts first.
//!
//!     cargo run --release --example two_services
//!
//! Uses the engine that `CALLBOARD_ADDR` names, or one of its own.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use callboard::server::{Server, ServerConfig, ServerHandle};
use callboard::worker::{CallError, CallOptions, Context, Fault, Function, Token, Worker};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: String,
    pieces: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Confirmation {
    pieces: u32,
    left: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (engine, _own) = engine()?;

    // Two processes, in real life, on two hosts.
    let orders = orders(&engine)?;
    let stock = stock(&engine)?;

    // Somebody who calls, and knows neither of them.
    let shop = Worker::builder("shop")
        .engine(&engine)?
        .token(Token::from_environment())
        .connect(PATIENCE)?;
    for entry in shop.board().snapshot().functions {
        println!("on the board: {:16} {}", entry.name(), entry.description());
    }
    let order = Order {
        item: "chair".to_owned(),
        pieces: 3,
    };
    let done: Confirmation = shop.client().call("orders::create", &order)?;
    println!("ordered {} chairs, {} are left", done.pieces, done.left);
    assert_eq!((done.pieces, done.left), (3, 4));

    // What a function refuses comes back as it said it, through both services.
    let greedy = Order {
        item: "chair".to_owned(),
        pieces: 6,
    };
    match shop
        .client()
        .call::<Confirmation>("orders::create", &greedy)
    {
        Err(CallError::Function(fault)) if fault.code() == "too_many" => {
            println!("refused: {fault}");
        }
        other => return Err(format!("this should be refused: {other:?}").into()),
    }

    // A service that says goodbye is gone for everybody at once, and the error says so.
    stock.close();
    match shop.client().call::<Confirmation>("orders::create", &order) {
        Err(CallError::Function(fault)) if fault.code() == "no_stock" => {
            println!("refused: {fault}");
        }
        other => return Err(format!("nobody should have a stock: {other:?}").into()),
    }
    shop.close();
    orders.close();
    Ok(())
}

/// Takes orders. Asks the provider of the stock.
fn orders(engine: &str) -> Result<Worker, Box<dyn Error>> {
    let create = |call: &Context, order: Order| -> Result<Confirmation, Fault> {
        let options = CallOptions::new().timeout(Duration::from_secs(5));
        let left = call.client().call_with("stock::reserve", &order, &options);
        match left {
            Ok(left) => Ok(Confirmation {
                pieces: order.pieces,
                left,
            }),
            Err(CallError::Function(fault)) => Err(fault),
            Err(error) => Err(Fault::new("no_stock", error.to_string()).retry_later()),
        }
    };
    let limit = |_: &Context, item: String| -> Result<u32, Fault> {
        Ok(if item == "chair" { 5 } else { 1 })
    };
    let worker = Worker::builder("orders-1")
        .engine(engine)?
        .token(Token::from_environment())
        .connect(PATIENCE)?;
    worker.register([
        Function::new("orders::create")
            .description("Takes an order")
            .handler(create),
        Function::new("orders::limit")
            .description("Pieces in one order")
            .handler(limit),
    ])?;
    Ok(worker)
}

/// Keeps the stock. Asks the orders how much one may have.
fn stock(engine: &str) -> Result<Worker, Box<dyn Error>> {
    let shelf = Mutex::new(HashMap::from([("chair".to_owned(), 7_u32)]));
    let reserve = move |call: &Context, order: Order| -> Result<u32, Fault> {
        let limit: u32 = call
            .client()
            .call("orders::limit", &order.item)
            .map_err(|error| Fault::new("no_limit", error.to_string()).retry_later())?;
        if order.pieces > limit {
            let message = format!("at most {limit} pieces of {} in one order", order.item);
            return Err(Fault::new("too_many", message).not_executed());
        }
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let left = shelf.entry(order.item).or_default();
        *left = left
            .checked_sub(order.pieces)
            .ok_or_else(|| Fault::new("sold_out", format!("{left} are left")).not_executed())?;
        Ok(*left)
    };
    let worker = Worker::builder("stock-1")
        .engine(engine)?
        .token(Token::from_environment())
        .connect(PATIENCE)?;
    worker.register([Function::new("stock::reserve")
        .description("Puts some aside")
        .handler(reserve)])?;
    Ok(worker)
}

/// Where the engine is, and the engine itself if it is ours.
fn engine() -> Result<(String, Option<ServerHandle>), Box<dyn Error>> {
    if let Some(address) = env::var("CALLBOARD_ADDR").ok().filter(|it| !it.is_empty()) {
        return Ok((address, None));
    }
    let own = Server::spawn(ServerConfig {
        listen: vec!["127.0.0.1:0".parse()?],
        ..ServerConfig::default()
    })?;
    Ok((own.addresses()[0].to_string(), Some(own)))
}
