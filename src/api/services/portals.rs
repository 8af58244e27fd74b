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

/// Sets up a web portal: a site of their own for customers, suppliers or members.
///
/// We want a new page where dealers log in online, so make a separate entrance for a branch, or open a self-service
/// area for a tenant with logo.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// The portal's name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Its look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branding: Option<Branding>,
    /// Flags: `processDesigner`, `documentProcessing`, `aiAgents`; true is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<BTreeMap<String, bool>>,
}

impl Operation for Create {
    type Output = Portal;
    const SPEC: Spec = Spec::post("portals_create", "/portals", Effect::Write)
        .titled("Build a branded website")
        .requires(Permission::PORTAL_CREATE)
        .answers(201)
        .names_tenant()
        .evicts(&["portals"]);
}

/// Shows how one portal is set up: domain, logo, colours and features of the site.
///
/// Somebody asks under which address a site is on the web, or wants the details of its setup (config) for the customs
/// office.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The portal.
    pub id: PortalId,
}

impl Operation for Get {
    type Output = Portal;
    const SPEC: Spec = Spec::get("portals_get", "/portals/{id}", Effect::Read)
        .titled("How a portal or site is configured")
        .requires(Permission::PORTAL_VIEW)
        .cached(30);
}

/// Changes the look of a portal: its logo, colours or domain (branding).
///
/// Make the site green, swap the old logo of the dealers, restyle the web page like our corporate design, make it dark
/// for customers, or replace a picture for parents.
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

/// Tells which functions of a portal are switched on or off (feature flags).
///
/// Is the upload enabled on the site, is AI turned on, which process or beta toggles are active for a tenant, and are
/// document options activated?
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FeatureFlags {
    /// The portal.
    pub id: PortalId,
}

impl Operation for FeatureFlags {
    type Output = Features;
    const SPEC: Spec = Spec::get("portals_feature_flags", "/portals/{id}/feature-flags", Effect::Read)
        .titled("Functions that one can use in a portal")
        .requires(Permission::PORTAL_VIEW)
        .cached(30)
        .shared_in_tenant();
}

/// Adds a company to the platform, with a tenant of its own.
///
/// We bought or founded a firm, or a client organisation joins, so set it up; enter our new daughter or logistics unit,
/// or register a separate one below the holding.
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

/// Sets who must approve what in a company, in order (approval chain). Replaces all its chains.
///
/// Two people sign everything above a large sum, first the director and then the board, investments of a subsidiary or
/// shop need both, or set the hierarchy and line of approvers in a daughter firm.
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

/// Lists all portals that we host for outsiders.
///
/// Is there any page for customers already, what is the name of every site, which belong to the group, and where do I
/// find an overview?
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
        .titled("How many portals and sites we run")
        .requires(Permission::PORTAL_VIEW)
        .extension();
}

/// Lists the companies and tenants on the platform.
///
/// Which entities does the group have, does the holding own other branches, what are all organisations, daughters and
/// subsidiaries by name, and which client joined this year or do we serve?
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
        .titled("Firms and tenants on the platform")
        .requires(Permission::PORTAL_VIEW)
        .extension();
}
