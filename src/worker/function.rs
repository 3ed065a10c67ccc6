//! The definition of a function: registered by its provider and shown on the board. Does not know its providers,
//! and never changes once it is on a board.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{Bin, Definition, Text};

/// A function's definition.
///
/// ```
/// use callboard::worker::Function;
///
/// let create = Function::new("orders::create")
///     .description("Takes an order, answers with its number")
///     .metadata(&serde_json::json!({"team": "sales"}))?
///     .exclusive();
/// assert_eq!(create.name(), "orders::create");
/// # Ok::<(), callboard::worker::FunctionError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Function {
    name: Arc<str>,
    description: Box<str>,
    request: Box<[u8]>,
    response: Box<[u8]>,
    metadata: Box<[u8]>,
    exclusive: bool,
}

/// Why a value cannot be metadata or a schema, or cannot be decoded as the expected type.
#[derive(Debug)]
pub enum FunctionError {
    /// The value cannot be encoded as MessagePack.
    Encode(rmp_serde::encode::Error),
    /// The bytes are not MessagePack of the wanted type.
    Decode(rmp_serde::decode::Error),
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "this cannot be encoded as MessagePack: {error}"),
            Self::Decode(error) => {
                write!(f, "this is not MessagePack of the expected type: {error}")
            }
        }
    }
}

impl std::error::Error for FunctionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Decode(error) => Some(error),
        }
    }
}

/// Encodes a value as opaque bytes: MessagePack, structs as maps.
pub(super) fn pack(value: &impl Serialize) -> Result<Vec<u8>, FunctionError> {
    rmp_serde::to_vec_named(value).map_err(FunctionError::Encode)
}

/// Decodes opaque bytes as MessagePack.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FunctionError> {
    rmp_serde::from_slice(bytes).map_err(FunctionError::Decode)
}

/// The same, with `None` for empty bytes.
pub(super) fn unpack_optional<T: DeserializeOwned>(
    bytes: &[u8],
) -> Result<Option<T>, FunctionError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    unpack(bytes).map(Some)
}

impl Function {
    /// A function with this name: 1 to 255 bytes of visible ASCII, by convention `service::function`. The name is
    /// checked when the function is registered.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            description: Box::default(),
            request: Box::default(),
            response: Box::default(),
            metadata: Box::default(),
            exclusive: false,
        }
    }

    /// What it does, for people.
    #[must_use]
    pub fn description(mut self, text: impl Into<Box<str>>) -> Self {
        self.description = text.into();
        self
    }

    /// Further metadata, sent as MessagePack. Description, schemas and metadata together may have 32 KiB (the
    /// engine's `--max-entry`); the engine refuses a longer registration.
    pub fn metadata(self, value: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.metadata_bytes(pack(value)?))
    }

    /// The schema of the arguments, by convention JSON Schema, sent as MessagePack.
    pub fn request(self, schema: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.request_bytes(pack(schema)?))
    }

    /// The schema of the result, by convention JSON Schema, sent as MessagePack.
    pub fn response(self, schema: &impl Serialize) -> Result<Self, FunctionError> {
        Ok(self.response_bytes(pack(schema)?))
    }

    /// Metadata as bytes of any format; [`metadata`](Self::metadata) is the convention.
    #[must_use]
    pub fn metadata_bytes(mut self, bytes: impl Into<Box<[u8]>>) -> Self {
        self.metadata = bytes.into();
        self
    }

    /// The schema of the arguments as bytes of any format.
    #[must_use]
    pub fn request_bytes(mut self, bytes: impl Into<Box<[u8]>>) -> Self {
        self.request = bytes.into();
        self
    }

    /// The schema of the result as bytes of any format.
    #[must_use]
    pub fn response_bytes(mut self, bytes: impl Into<Box<[u8]>>) -> Self {
        self.response = bytes.into();
        self
    }

    /// Require a single provider: the registration is refused while another worker provides the function, and other
    /// workers are refused after that; the refusal names the owner.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, shared.
    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it does, for people; empty if it is not described.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.description
    }

    /// The schema of the arguments as bytes; empty if there is none.
    #[must_use]
    pub fn raw_request(&self) -> &[u8] {
        &self.request
    }

    /// The schema of the result as bytes; empty if there is none.
    #[must_use]
    pub fn raw_response(&self) -> &[u8] {
        &self.response
    }

    /// The metadata as bytes; empty if there is none.
    #[must_use]
    pub fn raw_metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Whether only one worker may provide it.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Size that the engine's `--max-entry` bounds: description, schemas and metadata.
    pub(super) fn entry_size(&self) -> usize {
        self.description.len() + self.request.len() + self.response.len() + self.metadata.len()
    }

    /// Its form on the wire.
    pub(super) fn definition(&self) -> Definition<'_> {
        Definition {
            name: Text(&self.name),
            description: Text(&self.description),
            request: Bin(&self.request),
            response: Bin(&self.response),
            metadata: Bin(&self.metadata),
            exclusive: self.exclusive,
        }
    }

    /// From its form on the wire.
    pub(super) fn from_definition(definition: &Definition<'_>) -> Self {
        Self {
            name: definition.name.0.into(),
            description: definition.description.0.into(),
            request: definition.request.0.into(),
            response: definition.response.0.into(),
            metadata: definition.metadata.0.into(),
            exclusive: definition.exclusive,
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("description", &self.description)
            .field("exclusive", &self.exclusive)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Function {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_comes_back_as_it_was_sent() {
        let function = Function::new("a::b")
            .description("text")
            .metadata(&("x", 1))
            .unwrap()
            .request_bytes([1, 2])
            .response_bytes([3])
            .exclusive();
        assert_eq!(Function::from_definition(&function.definition()), function);
        assert_eq!(
            unpack::<(String, u8)>(function.raw_metadata()).unwrap(),
            ("x".to_owned(), 1)
        );
    }
}
