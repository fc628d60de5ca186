-- The health of an LLMDeployment, of which its conditions say all: docs/argocd.md.
local function health(status, condition)
  local message = condition.reason
  if condition.message ~= nil and condition.message ~= "" then
    message = message .. ": " .. condition.message
  end
  return {status = status, message = message}
end

if obj.status == nil or obj.status.conditions == nil then
  return {status = "Progressing", message = "The operator has not seen it yet"}
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not seen its latest change yet"}
end

local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local ready, progressing, stalled = found.Ready, found.Progressing, found.Stalled
if ready == nil or progressing == nil or stalled == nil then
  return {status = "Progressing", message = "Its conditions are not complete yet"}
end

if stalled.status == "True" then
  return health("Degraded", stalled)
end
if obj.spec.suspend == true then
  return health("Suspended", ready)
end
if progressing.status == "True" then
  return health("Progressing", progressing)
end
-- No replica is wanted: as asked for, as Argo CD sees a Deployment of none.
if ready.status == "True" or ready.reason == "ScaledToZero" then
  return health("Healthy", ready)
end
return health("Progressing", ready)
