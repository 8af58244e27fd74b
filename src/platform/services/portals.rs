//! Portal Management: portals with their branding and features, and the tree of companies (contract, section 19).

mod approvals;
mod branding;
mod companies;
mod features;
mod store;
mod tree;

use crate::api::Page;
use crate::api::portals::{Create, FeatureFlags, Features, Get, List, Portal, SERVICE, UpdateBranding};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;

/// The operations of the service, and those beyond the contract: lists, the switching of features and moves in the tree.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(create)
        .on(get)
        .on(update_branding)
        .on(feature_flags)
        .on(companies::create)
        .on(approvals::configure)
        .on(list)
        .extend(&SERVICE, set_features)
        .on(companies::list)
        .extend(&SERVICE, companies::get)
        .extend(&SERVICE, companies::relocate)
        .extend(&SERVICE, approvals::in_force)
}

async fn create(cx: Cx, request: Create) -> Result<Answer<Portal>> {
    let name = request.name.trim().to_owned();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::new(Kind::Invalid, "FM-PMS-NAME", "the portal's name is blank or holds control characters").field(
            "/name",
            "format",
            "is a name for people, such as Acme Portal",
        ));
    }
    let branding = branding::checked("/branding", request.branding.unwrap_or_default())?;
    let features = features::initial(request.features.unwrap_or_default())?;
    let (portal, version) = cx.write(move |tx| store::create(tx, &name, &branding, &features)).await?;
    Ok(Answer::from(portal).etag(version))
}

async fn get(cx: Cx, request: Get) -> Result<Answer<Portal>> {
    let tenant = cx.tenant();
    let (portal, version) = cx.read(move |connection| store::find(connection, tenant.as_str(), request.id.as_str())).await?;
    Ok(Answer::from(portal).etag(version))
}

async fn list(cx: Cx, request: List) -> Result<Page<Portal>> {
    let (tenant, before, most) = (cx.tenant(), cx.cursor(&request.page)?, request.page.size() + 1);
    let found = cx.read(move |connection| store::list(connection, tenant.as_str(), before.as_deref(), most)).await?;
    Ok(cx.page_of(found, &request.page, |portal| portal.portal_id.0.clone()))
}

async fn update_branding(cx: Cx, request: UpdateBranding) -> Result<Answer<Portal>> {
    let branding = branding::checked("", request.branding)?;
    if branding.logo.is_none() && branding.primary_color.is_none() && branding.custom_domain.is_none() {
        return Err(Error::new(Kind::Invalid, "FM-PMS-NOTHING", "the request names nothing to change")
            .hint("Give at least one of `logo`, `primaryColor` and `customDomain`."));
    }
    let if_match = cx.if_match.clone();
    let (portal, version) = cx.write(move |tx| store::update_branding(tx, request.id.as_str(), &branding, if_match.as_deref())).await?;
    Ok(Answer::from(portal).etag(version))
}

async fn feature_flags(cx: Cx, request: FeatureFlags) -> Result<Answer<Features>> {
    let tenant = cx.tenant();
    let (portal, version) = cx.read(move |connection| store::find(connection, tenant.as_str(), request.id.as_str())).await?;
    Ok(Answer::from(Features { portal_id: Some(portal.portal_id), features: portal.features }).etag(version))
}

async fn set_features(cx: Cx, request: features::Set) -> Result<Answer<Features>> {
    let flags = features::checked(request.features)?;
    let if_match = cx.if_match.clone();
    let (portal, version) = cx.write(move |tx| store::set_features(tx, request.id.as_str(), flags, if_match.as_deref())).await?;
    Ok(Answer::from(Features { portal_id: Some(portal.portal_id), features: portal.features }).etag(version))
}
