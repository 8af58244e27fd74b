//! Communication Service: messages by WhatsApp, Telegram, Slack and SMS (contract, section 12).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{ChannelId, ConversationId, ExecutionId, MessageId, TaskId};
use crate::api::open_enum::open_enum;
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Secret, Service, Spec, Timestamp};

/// Communication Service.
pub const SERVICE: Service =
    Service::new("communication", "communication", "COMMS", "Two-way chats with people by WhatsApp, Telegram, Slack and SMS.")
        .layer(Layer::Integration)
        .operations(operations![Register, ListChannels, SendMessage, Receive, ListConversations, History, Link])
        .finder(
            "`channels_list` shows the channels and `conversations_list` the conversations, with their ids; `audit_query` with \
             resourceType channel or conversation names those there are.",
        )
        .ids(&[
            Id::of("channelId", "channel").listed(Lister::new("channels_list", &[], "channelId")),
            Id::of("conversationId", "conversation").listed(Lister::new("conversations_list", &[], "conversationId")),
            Id::of("messageId", "message"),
        ])
        .resources(&[Resource::new(
            "conversations/{id}",
            "conversations_get",
            "conversation",
            "Conversation",
            "The messages to and from a person on a channel, newest first.",
        )
        .takes(&[("id", "conversation")])])
        .shown(&["name", "channel", "status", "context", "createdAt"]);

open_enum! {
    /// The kinds of channels.
    ChannelKind {
        /// WhatsApp.
        Whatsapp = "whatsapp",
        /// Telegram.
        Telegram = "telegram",
        /// Slack.
        Slack = "slack",
        /// Text messages to phones.
        Sms = "sms",
    }
}

open_enum! {
    /// The states of a message.
    MessageStatus {
        /// Waits to be sent.
        Queued = "queued",
        /// The provider has accepted it.
        Sent = "sent",
        /// It reached the recipient's device.
        Delivered = "delivered",
        /// The recipient has read it.
        Read = "read",
        /// It could not be sent.
        Failed = "failed",
        /// It came in from outside.
        Received = "received",
    }
}

open_enum! {
    /// The ways a message can go.
    Direction {
        /// From the person to us.
        Inbound = "inbound",
        /// From us to the person.
        Outbound = "outbound",
    }
}

/// A registered channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelKind>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The own number, bot or workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The address of the provider's API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The names of the credentials that are set; values are never shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_set: Vec<String>,
    /// active, or failing while messages cannot be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The address where the provider delivers inbound messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// The key of the webhook's signatures, shown once, to the one who registers; never to a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<Secret>,
    /// When it was registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The message.
    pub message_id: MessageId,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<MessageStatus>,
    /// The kind of channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelKind>,
    /// When it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When the recipient read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// Inbound or outbound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Who wrote it: a user id or an address on the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<String>,
    /// Who gets it: a user id or an address on the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_id: Option<String>,
    /// The text as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Connects a messenger line (channel), by which people reach us on WhatsApp, SMS, Slack or Telegram.
///
/// We want to put up a number so that guests can text or chat with us, add a new bot with its token, hook up the
/// workspace of the team, introduce a second provider, or make our business WhatsApp usable here.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// Kind of channel.
    pub channel: ChannelKind,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    /// Own number, bot or workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub account: Option<String>,
    /// API address; the public one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2000))]
    pub base_url: Option<String>,
    /// Values for the provider's sign-in by name, such as apiKey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register").field("channel", &self.channel).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Operation for Register {
    type Output = Channel;
    const SPEC: Spec = Spec::post("channels_register", "/channels/register", Effect::Write)
        .titled("Connect WhatsApp, Slack, Telegram or SMS")
        .requires(Permission::CHANNEL_REGISTER)
        .answers(201)
        .id_alias("id")
        .evicts(&["channels"]);
}

/// Lists the messenger channels on which people reach us.
///
/// Show all WhatsApp numbers and SMS lines that are set up here, is there a Slack or Telegram connection, what ways of
/// communication do we offer customers to chat or write a text message, and which are registered and active?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListChannels {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListChannels {
    type Output = Page<Channel>;
    const SPEC: Spec = Spec::get("channels_list", "/channels", Effect::Read)
        .titled("Messenger lines that we have, any WhatsApp")
        .requires(Permission::CHANNEL_VIEW)
        .extension()
        .cached(30);
}

/// Lists the conversations on WhatsApp, SMS, Slack or Telegram lines.
///
/// Who wrote to us this week, yesterday or today, show all open chats of a customer, where is the recent messenger
/// thread with the driver, and which dialogues wait for an answer?
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListConversations {
    /// Only those on this channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
    /// With this person: a user id or an address on a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub participant_id: Option<String>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListConversations {
    type Output = Page<Conversation>;
    const SPEC: Spec = Spec::get("conversations_list", "/conversations", Effect::Read)
        .titled("Find any chats that we have had, with whom")
        .requires(Permission::CONVERSATION_VIEW)
        .extension()
        .cached(2);
}

/// Sends somebody a short message on WhatsApp, SMS, Slack or Telegram (channel).
///
/// Text the driver at gate 3, write to a customer on WhatsApp that the order is ready to pick up, tell the plumber to
/// come back tomorrow, post it into a chat, answer yes to the guest, or drop a line to ping the school.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendMessage {
    /// The channel.
    pub id: ChannelId,
    /// Kind of channel to use; that of `id` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelKind>,
    /// User id, phone number or chat id.
    #[schemars(length(min = 1, max = 256))]
    pub recipient_id: String,
    /// Text; `{{name}}` stands for a variable.
    #[schemars(length(min = 1, max = 4096))]
    pub message: String,
    /// Values for the text by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Map<String, Value>>,
}

impl Operation for SendMessage {
    type Output = Message;
    const SPEC: Spec = Spec::post("channels_send", "/channels/{id}/send", Effect::Send)
        .titled("Message, text or reply to somebody")
        .requires(Permission::CHANNEL_SEND)
        .answers(201)
        .id_alias("id")
        .evicts(&["conversations"]);
}

/// Takes in a message that somebody sent us (inbound channel), where it did not arrive by itself.
///
/// A customer wrote on WhatsApp, so put in the SMS or text that just came over while our platform was down; hand in the
/// raw webhook payload of a callback here, simulate for a test that a driver or guest came back to us, or pass on a
/// reply on Telegram or Slack that was not delivered.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receive {
    /// The channel.
    pub id: ChannelId,
    /// User id, phone number or chat id of the writer.
    #[schemars(length(min = 1, max = 256))]
    pub sender_id: String,
    /// Text that came in.
    #[schemars(length(min = 1, max = 4096))]
    pub message: String,
    /// Provider's id of the message; a repeat is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub external_id: Option<String>,
    /// Time of writing; now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Other fields of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
}

impl Operation for Receive {
    type Output = Message;
    const SPEC: Spec = Spec::post("channels_receive", "/channels/{id}/webhook", Effect::Write)
        .titled("Feed in an incoming message")
        .requires(Permission::CHANNEL_RECEIVE)
        .id_alias("id")
        .evicts(&["conversations", "executions", "tasks"]);
}

/// Opens one chat to read its messages (conversation, conv-…).
///
/// What did the driver answer, what did we promise, agree or write last, can you show the whole thread, exchange or
/// transcript, and may I scroll back through the history with the supplier?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The conversation.
    pub id: ConversationId,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for History {
    type Output = Page<Message>;
    const SPEC: Spec = Spec::get("conversations_get", "/conversations/{id}", Effect::Read)
        .titled("What was written or said in a chat")
        .requires(Permission::CONVERSATION_VIEW)
        .id_alias("id")
        .cached(2);
}

/// What a conversation is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The execution that inbound messages go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The task that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Anything kept with it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

/// A chat with a person on a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The kind of channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelKind>,
    /// The channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<ChannelId>,
    /// The person: a user id or an address on the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// When its first message was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// Ties a chat to the case that it belongs to (conversation, conv-…).
///
/// Attach the WhatsApp thread to a run of the workflow, put the Telegram dialogue under the onboarding, assign or
/// associate SMS messages with the accident, or bind and join the exchange to a complaint or recall.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The conversation.
    pub id: ConversationId,
    /// Execution that inbound messages go to.
    pub execution_id: ExecutionId,
    /// Task that the chat is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Anything to keep with the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Map<String, Value>>,
}

impl Operation for Link {
    type Output = Conversation;
    const SPEC: Spec = Spec::put("conversations_link", "/conversations/{id}/context", Effect::Write)
        .titled("Attach a chat or dialogue to a case")
        .requires(Permission::CONVERSATION_LINK)
        .id_alias("id")
        .evicts(&["conversations"]);
}
