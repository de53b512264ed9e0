//! Runs the gate's scripts in this process: the same `.lua` files in an embedded Lua 5.1, with a keyspace in memory.
//! Its state ends with the process; the store rebuilds it.

mod keyspace;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use mlua::{Function, Lua, LuaOptions, LuaString, StdLib, Table, Value, Variadic};
use uuid::Uuid;

use self::keyspace::{Answer, Keyspace};
use super::GateError;
use super::reply::Reply;
use super::script::Script;
use crate::runtime::clock::Clock;

/// One interpreter behind a lock, which makes each script atomic as Redis does. A script takes
/// microseconds and the lock is never held across an await.
pub(super) struct InProcessEngine {
    interpreter: Mutex<Interpreter>,
}

struct Interpreter {
    lua: Lua,
    scripts: HashMap<Script, Function>,
}

impl InProcessEngine {
    /// An empty keyspace, and the compiled scripts.
    pub(super) fn new(clock: Clock) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        lua.set_app_data(Keyspace::new(clock, Uuid::now_v7().to_string()));
        let redis = lua.create_table()?;
        redis.set("call", lua.create_function(call)?)?;
        redis.set("error_reply", lua.create_function(error_reply)?)?;
        lua.globals().set("redis", redis)?;
        let scripts = Script::ALL
            .iter()
            .map(|script| {
                let compiled = lua.load(script.source()).set_name(format!("{script:?}"));
                Ok((*script, compiled.into_function()?))
            })
            .collect::<mlua::Result<_>>()?;
        Ok(Self {
            interpreter: Mutex::new(Interpreter { lua, scripts }),
        })
    }

    /// Runs one script to its end.
    pub(super) fn run(
        &self,
        script: Script,
        keys: &[String],
        args: &[String],
    ) -> Result<Reply, GateError> {
        let interpreter = self.lock()?;
        let Some(function) = interpreter.scripts.get(&script) else {
            return Err(GateError::Protocol(format!("{script:?} is not loaded")));
        };
        let run = || -> mlua::Result<Value> {
            let sequence = |items: &[String]| {
                interpreter
                    .lua
                    .create_sequence_from(items.iter().map(String::as_str))
            };
            let globals = interpreter.lua.globals();
            globals.set("KEYS", sequence(keys)?)?;
            globals.set("ARGV", sequence(args)?)?;
            function.call(())
        };
        run()
            .map_err(|error| GateError::Protocol(error.to_string()))
            .and_then(read)
    }

    /// Answers unless a script has panicked.
    pub(super) fn ping(&self) -> Result<(), GateError> {
        self.lock().map(drop)
    }

    /// A poisoned lock means that a script was interrupted: its state may be inconsistent.
    fn lock(&self) -> Result<MutexGuard<'_, Interpreter>, GateError> {
        self.interpreter
            .lock()
            .map_err(|_| GateError::Protocol("an earlier script panicked".to_owned()))
    }
}

/// `redis.call` as in Redis, except that arguments must be strings, because the two engines would format numbers
/// differently.
fn call(lua: &Lua, words: Variadic<Value>) -> mlua::Result<Value> {
    let words = words
        .into_iter()
        .map(|word| match word {
            Value::String(word) => word.to_str(),
            other => Err(mlua::Error::runtime(format!(
                "ERR arguments must be strings, got {}",
                other.type_name()
            ))),
        })
        .collect::<mlua::Result<Vec<_>>>()?;
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    let answer = lua
        .app_data_mut::<Keyspace>()
        .ok_or_else(|| mlua::Error::runtime("ERR no keyspace"))?
        .call(&words)
        .map_err(mlua::Error::runtime)?;
    lua_value(lua, answer)
}

fn error_reply(lua: &Lua, message: LuaString) -> mlua::Result<Table> {
    lua.create_table_from([("err", message)])
}

fn lua_value(lua: &Lua, answer: Answer) -> mlua::Result<Value> {
    Ok(match answer {
        Answer::Nil => Value::Boolean(false),
        Answer::Integer(number) => Value::Integer(number),
        Answer::Text(text) => Value::String(lua.create_string(text)?),
        Answer::List(items) => {
            let items = items
                .into_iter()
                .map(|item| lua_value(lua, item))
                .collect::<mlua::Result<Vec<_>>>()?;
            Value::Table(lua.create_sequence_from(items)?)
        }
    })
}

fn read(value: Value) -> Result<Reply, GateError> {
    let failed = |error: mlua::Error| GateError::Protocol(error.to_string());
    match value {
        Value::Integer(number) => Ok(Reply::Integer(number)),
        Value::String(text) => Ok(Reply::Text(text.to_str().map_err(failed)?.to_owned())),
        Value::Table(table) => {
            if let Some(message) = table.get::<Option<String>>("err").map_err(failed)? {
                return Err(GateError::Protocol(message));
            }
            table
                .sequence_values()
                .map(|item| item.map_err(failed).and_then(read))
                .collect::<Result<_, _>>()
                .map(Reply::List)
        }
        other => Err(GateError::Protocol(format!(
            "unexpected answer of type {}",
            other.type_name()
        ))),
    }
}
