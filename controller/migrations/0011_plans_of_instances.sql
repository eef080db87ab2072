-- Whoever sees an instance sees its plan, also where he could not have another.

DROP VIEW visible_service_plans;

CREATE VIEW visible_service_plans AS
    SELECT users.guid AS user_guid, service_plans.guid AS plan_guid
    FROM users CROSS JOIN service_plans WHERE service_plans.visibility = 'public'
    UNION
    SELECT seeing.user_guid, service_plan_organizations.plan_guid
    FROM service_plan_organizations
    JOIN service_plans ON service_plans.guid = service_plan_organizations.plan_guid
    JOIN visible_organizations seeing
        ON seeing.organization_guid = service_plan_organizations.organization_guid
    WHERE service_plans.visibility = 'organization'
    UNION
    SELECT seeing.user_guid, service_instances.plan_guid
    FROM service_instances
    JOIN visible_spaces seeing ON seeing.space_guid = service_instances.space_guid
    WHERE service_instances.plan_guid IS NOT NULL;
