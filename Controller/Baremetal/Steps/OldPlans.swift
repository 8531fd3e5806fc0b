import Store

/// Work of before the plans of steps (or with plans of another shape) cannot be gone on with.
///
/// It fails as any other work does, with a reason in node, history and change feed; what is installed stays.
/// The attempt grows, so that what an agent still reports of it counts for nothing.
let planMigration = Migration(
    name: "baremetal-007",
    sql: """
        CREATE TEMPORARY TABLE broken AS
            SELECT id, provisionState AS before, attempt + 1 AS attempt,
                CASE
                    WHEN state IN ('cleaning', 'cleanHold') THEN 'cleanFailed'
                    WHEN state = 'deploying' THEN 'deployFailed'
                    ELSE 'serviceFailed'
                END AS state,
                CASE
                    WHEN state IN ('cleaning', 'cleanHold') THEN 'clean failed'
                    WHEN state = 'deploying' THEN 'deploy failed'
                    ELSE 'service failed'
                END AS after,
                CASE WHEN state IN ('servicing', 'serviceHold') THEN json_object('serviceFailed',
                    json_object('installation',
                        json_extract(stateData, '$.' || state || '.job.installation'))) END AS data,
                CAST(strftime('%s', 'now') AS INTEGER) * 1000000000 AS at,
                'cannot go on with what an earlier release began: it was ' || provisionState
                    || ' during the upgrade; ask for it again' AS message
            FROM node
            WHERE state IN ('cleaning', 'cleanHold', 'deploying', 'servicing', 'serviceHold')
                AND json_extract(stateData, '$.' || state || '.job.plan.isAutomated') IS NULL;
        UPDATE node SET state = broken.state, provisionState = broken.after,
            stateData = broken.data, stateSince = broken.at, attempt = broken.attempt,
            queuedAt = NULL, startedAt = NULL, lastError = broken.message
            FROM broken WHERE node.id = broken.id;
        INSERT INTO nodeEvent (node, at, severity, event, state, target, seconds)
            SELECT id, at, 'ERROR', message, after, NULL, 0 FROM broken;
        INSERT INTO change (time, kind, id, attempt, before, after, cause)
            SELECT at, 'node', id, attempt, before, after, message FROM broken;
        DROP TABLE broken;
        """
)
