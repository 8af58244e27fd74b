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

/// Builds a web site where a customer, supplier, partner, contractor, student, clinic or subsidiary can log in and
/// serve themselves: we want or need to make, start, open or launch their own page, area.
///
/// Also: intranet or website with logo, for tenants, volunteers or dealers.
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

/// Shows how one site is set up: what web address, domain, logo and colours does the supplier, student, partner or
/// customer portal have, details and configuration of the intranet; display it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The portal.
    pub id: PortalId,
}

impl Operation for Get {
    type Output = Portal;
    const SPEC: Spec = Spec::get("portals_get", "/portals/{id}", Effect::Read)
        .titled("How does a portal or site look on the web, how is it set up: domain, logo, colours")
        .requires(Permission::PORTAL_VIEW)
        .cached(30);
}

/// Restyles a site or page: replace the outdated logo by a new one (png), make it orange or dark green, corporate
/// colours should change, adapt the site to our organisation.
///
/// Also: put it on a different web address.
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

/// Tells the on/off switches of a site: is the designer, upload, menu or AI turned on, enabled, activated, available,
/// unlocked or disabled for the clinic or students, what features.
///
/// Also: modules and options can they use, why is a function missing or deactivated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FeatureFlags {
    /// The portal.
    pub id: PortalId,
}

impl Operation for FeatureFlags {
    type Output = Features;
    const SPEC: Spec = Spec::get("portals_feature_flags", "/portals/{id}/feature-flags", Effect::Read)
        .titled("Why can't they use it: which functions, AI or upload, are switched on in a portal")
        .requires(Permission::PORTAL_VIEW)
        .cached(30)
        .shared_in_tenant();
}

/// Enters a new firm: register an Ltd, Inc or corporation that we bought, acquired, founded or took over and now
/// belongs to us, a branch, daughter or business unit under its parent.
///
/// Also: include a client organisation as a separate tenant.
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

/// Sets signing rules in a firm: who should approve purchases, contracts, expenses or investments, everything over a
/// large sum goes first to the lawyer, director or CFO and then the board.
///
/// Also: two signatures, four eyes principle, hierarchy of approvers for an Ltd or branch, who has to agree. Replaces
/// all chains.
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

/// Lists sites: find all websites, login and self-service pages we run or offer to outside people, is there a portal
/// for the clinic, contractors or suppliers.
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
        .titled("Which portals, websites and pages do we have for outsiders")
        .requires(Permission::PORTAL_VIEW)
        .extension();
}

/// Lists all companies: organisations, units, daughters and subsidiaries the holding does own, structure or tree of the
/// group, which Ltd or parent is above, which clients such as a hospital we serve.
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
        .titled("Which firms, daughters, subsidiaries, branches and organisations belong to our group")
        .requires(Permission::PORTAL_VIEW)
        .extension();
}
