//! Portal Management Service: portals, their branding and features, companies and their approval chains (contract, section 19).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::ids::{CompanyId, PortalId};
use crate::api::operation::operations;
use crate::api::page::{Page, PageRequest};
use crate::api::service::{Id, Layer, Lister, Resource};
use crate::api::{Effect, Operation, Permission, Service, Spec, Timestamp};

/// Portal Management Service.
pub const SERVICE: Service =
    Service::new("portal-management", "portals", "PMS", "Portals with their branding and features, and the tree of companies.")
        .layer(Layer::Support)
        .operations(operations![Create, Get, UpdateBranding, FeatureFlags, CreateCompany, ConfigureApprovals, List, ListCompanies])
        .finder(
            "`portals_list` shows the portals and `companies_list` the companies; `audit_query` with resourceType portal or company \
             names them as well.",
        )
        .ids(&[
            Id::of("portalId", "portal").listed(Lister::new("portals_list", &[], "portalId")),
            Id::of("companyId", "company").listed(Lister::new("companies_list", &[], "companyId")),
            Id::of("parentCompanyId", "company"),
        ])
        .resources(&[
            Resource::new(
                "portals/{id}",
                "portals_get",
                "portal",
                "Portal",
                "The configuration of a portal: its name, its branding and the features that are switched on.",
            )
            .takes(&[("id", "portal")]),
            Resource::new(
                "portals/{id}/feature-flags",
                "portals_feature_flags",
                "portal-feature-flags",
                "Feature flags of a portal",
                "The features of a portal by name, each on or off.",
            )
            .takes(&[("id", "portal")]),
        ])
        .shown(&["name", "branding", "features", "parentCompanyId", "approvalChains", "createdAt"]);

/// The look of a portal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Branding {
    /// Address of the logo's image, https.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub logo: Option<String>,
    /// Main colour, such as `#FF6B35`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 7, max = 7))]
    pub primary_color: Option<String>,
    /// Host name, such as `portal.acme.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub custom_domain: Option<String>,
}

/// A portal of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Portal {
    /// The portal.
    pub portal_id: PortalId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its look.
    #[serde(default)]
    pub branding: Branding,
    /// The features by name, each on or off.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub features: Map<String, Value>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// The feature flags of a portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// The portal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portal_id: Option<PortalId>,
    /// The features by name, each on or off.
    #[serde(default)]
    pub features: Map<String, Value>,
}

/// A company in the tree of companies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    /// The company.
    pub company_id: CompanyId,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The company above it; absent at the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_company_id: Option<CompanyId>,
    /// Its approval chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval_chains: Vec<ApprovalChain>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// The people who approve one kind of matter, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalChain {
    /// The kind of matter, such as `purchase`.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// The approvers, in order.
    pub steps: Vec<ApprovalStep>,
}

/// One approver of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStep {
    /// A user id or a role.
    #[schemars(length(min = 1, max = 200))]
    pub approver: String,
    /// The approver's company, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company_id: Option<CompanyId>,
}

/// Sets up a separate website or web portal with its own logo and colours (portal), where partners, dealers,
/// subcontractors, parents or an office sign in and serve themselves.
///
/// A self-service site or page of their own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// The portal's name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Its look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branding: Option<Branding>,
    /// Feature flags by name: `processDesigner`, `documentProcessing`, `aiAgents`; true is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<BTreeMap<String, bool>>,
}

impl Operation for Create {
    type Output = Portal;
    const SPEC: Spec = Spec::post("portals_create", "/portals", Effect::Write)
        .titled("Set up a branded website")
        .requires(Permission::PORTAL_CREATE)
        .answers(201)
        .names_tenant()
        .evicts(&["portals"]);
}

/// Shows how one portal, website or login page is set up and looks (portal): which logo, colour, domain and web address
/// it uses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The portal.
    pub id: PortalId,
}

impl Operation for Get {
    type Output = Portal;
    const SPEC: Spec = Spec::get("portals_get", "/portals/{id}", Effect::Read)
        .titled("Show how a website looks at present")
        .requires(Permission::PORTAL_VIEW)
        .cached(30);
}

/// Changes the logo, colour or domain of a portal, website or login page (branding): our new logo, dark red or blue,
/// another web address, adapted after a renaming.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UpdateBranding {
    /// The portal.
    pub id: PortalId,
    /// The new look; what is left out stays.
    #[serde(flatten)]
    pub branding: Branding,
}

impl Operation for UpdateBranding {
    type Output = Portal;
    const SPEC: Spec = Spec::put("portals_update_branding", "/portals/{id}/branding", Effect::Write)
        .titled("Give a website new colours or another logo")
        .requires(Permission::PORTAL_UPDATE)
        .evicts(&["portals"]);
}

/// Tells which functions are active in a portal or website (feature flags): are AI, workflow designer or document
/// uploads switched on, enabled or off there, why is a menu missing.
///
/// What features an office can use, which are turned on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FeatureFlags {
    /// The portal.
    pub id: PortalId,
}

impl Operation for FeatureFlags {
    type Output = Features;
    const SPEC: Spec = Spec::get("portals_feature_flags", "/portals/{id}/feature-flags", Effect::Read)
        .titled("See which features are enabled on a website")
        .requires(Permission::PORTAL_VIEW)
        .cached(30)
        .shared_in_tenant();
}

/// Adds or registers a new company, subsidiary, branch or client organisation below its owner or holding (company): a
/// firm we bought or that belongs to us now, an office founded or opened abroad.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateCompany {
    /// The company's name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The company that owns it; none for the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_company_id: Option<CompanyId>,
}

impl Operation for CreateCompany {
    type Output = Company;
    const SPEC: Spec = Spec::post("companies_create", "/companies", Effect::Write)
        .titled("Add a branch or subsidiary")
        .requires(Permission::COMPANY_CREATE)
        .answers(201);
}

/// Defines who approves and signs spending in a company (approval chain): purchases, expenses, contracts, investments
/// or orders need the manager first, then the CFO, board or headquarters.
///
/// Who must agree or confirm, in which order; replaces all chains.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigureApprovals {
    /// The company.
    pub id: CompanyId,
    /// All chains from now on.
    pub approval_chains: Vec<ApprovalChain>,
}

impl Operation for ConfigureApprovals {
    type Output = Company;
    const SPEC: Spec = Spec::put("companies_configure_approvals", "/companies/{id}/approvals", Effect::Grant)
        .titled("Set which people must sign for a firm")
        .requires(Permission::COMPANY_CONFIGURE);
}

/// Shows which portals, websites and login pages we have or offer for outside people (portals), such as partners,
/// dealers and offices, all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for List {
    type Output = Page<Portal>;
    const SPEC: Spec = Spec::get("portals_list", "/portals", Effect::Read)
        .titled("List the websites for partners")
        .requires(Permission::PORTAL_VIEW)
        .extension();
}

/// Shows which companies, organisations, subsidiaries, branches and daughters are part of our group or holding
/// (companies), or what one firm owns: the structure.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListCompanies {
    /// The company above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_company_id: Option<CompanyId>,
    /// How much to answer.
    #[serde(flatten)]
    pub page: PageRequest,
}

impl Operation for ListCompanies {
    type Output = Page<Company>;
    const SPEC: Spec = Spec::get("companies_list", "/companies", Effect::Read)
        .titled("List the firms under our group or holding")
        .requires(Permission::PORTAL_VIEW)
        .extension();
}
