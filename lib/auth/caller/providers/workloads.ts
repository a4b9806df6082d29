/** Issuers whose tokens speak for programs: pipelines, platforms, clouds. */
import { workloadSubject } from './markers.ts'
import type { Provider } from './provider.ts'
import { machine, type TokenShape } from './token-shape.ts'

/** The person who started a pipeline is named in its token, but is not who calls. */
function job(name: string, hosts: readonly string[], ownClaims: readonly string[]): Provider {
  return {
    name,
    issued: token =>
      token.hostIs(...hosts) || (ownClaims.length > 0 && ownClaims.every(claim => token.has(claim))),
    judge: () => machine(`a ${name} workload`),
    clientId: () => null
  }
}

const gitlabJob: Provider = {
  ...job('gitlab-ci', [], []),
  // The same issuer signs people in: only a job has a pipeline.
  issued: token => token.has('project_path') && token.hasAny('pipeline_id', 'job_id')
}

const workloadIdentity: Provider = {
  name: 'workload-identity',
  issued: token => hasWorkloadName(token),
  judge: workloadSubject
}

function hasWorkloadName(token: TokenShape): boolean {
  return (
    /^(?:spiffe:\/\/|wimse:\/\/|system:(?:serviceaccount|node):|arn:aws)/.test(token.sub ?? '') ||
    token.header.typ === 'wit+jwt'
  )
}

export const workloads: readonly Provider[] = [
  workloadIdentity,
  gitlabJob,
  job(
    'github-actions',
    ['token.actions.githubusercontent.com', '.actions.githubusercontent.com'],
    ['repository', 'run_id', 'workflow']
  ),
  job('circleci', ['oidc.circleci.com'], ['oidc.circleci.com/project-id']),
  job('bitbucket-pipelines', [], ['repositoryUuid', 'stepUuid']),
  job('buildkite', ['agent.buildkite.com'], ['pipeline_slug', 'build_number']),
  job('terraform', ['app.terraform.io'], ['terraform_run_id', 'terraform_workspace_id']),
  job('vercel', ['oidc.vercel.com'], []),
  job('azure-devops', ['vstoken.dev.azure.com'], []),
  job('bot-framework', ['api.botframework.com'], []),
  job('codefresh', ['oidc.codefresh.io'], []),
  job('semaphore', ['.semaphoreci.com'], ['prj_id', 'wf_id']),
  job('spacelift', ['.app.spacelift.io'], ['runId', 'callerType', 'spaceId']),
  job('pulumi', ['api.pulumi.com'], []),
  job('fly', ['oidc.fly.io'], ['machine_id', 'app_name']),
  job('bitrise', ['token.builds.bitrise.io'], []),
  job('depot', ['identity.depot.dev'], []),
  job('modal', ['oidc.modal.com'], []),
  job('nomad', [], ['nomad_namespace', 'nomad_job_id']),
  job('harness', [], ['pipeline_id', 'organization_id', 'account_id', 'project_id']),
  job('render', ['oidc.render.com'], []),
  job('confidential-space', ['confidentialcomputing.googleapis.com'], []),
  job('firebase-app-check', ['firebaseappcheck.googleapis.com'], []),
  job('kubernetes', ['kubernetes.default.svc', 'kubernetes.default.svc.cluster.local'], ['kubernetes.io'])
]
