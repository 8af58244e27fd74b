//! Lists: a page of items, and the cursor to the next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one. Opaque, and of use to the same tenant only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The only page of a short list.
    #[must_use]
    pub const fn only(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// How much of a list is asked for, and from where; flattened into the list's request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageRequest {
    /// Page size.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The next page's cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl PageRequest {
    /// The number of items to answer, 1 to 200.
    #[must_use]
    pub fn size(&self) -> usize {
        self.limit.unwrap_or(50).clamp(1, 200) as usize
    }
}
