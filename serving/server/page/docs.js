// The server's description as a page that can be tried out: Swagger UI, of the package flask-swagger-ui.
// https://github.com/swagger-api/swagger-ui/blob/master/docs/usage/configuration.md

const token = new URLSearchParams(location.search).get("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const server = new URL("..", location.href.split("?")[0]).href.replace(/\/$/, "");

function tell(sentence) {
  const problem = document.getElementById("problem");
  problem.textContent = sentence;
  problem.hidden = false;
}

function load(source) {
  const script = document.createElement("script");
  script.src = source;
  document.head.append(script);
  return new Promise((resolve, reject) => Object.assign(script, { onload: resolve, onerror: reject }));
}

// Swagger UI resolves a call when it is opened, and for these 35 ms it does not know it: Execute, pressed
// by then, ended in OperationNotFoundError and stayed grey. The description as it came knows every call.
const executesAtOnce = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        executeRequest: (execute, { specSelectors }) => (request) => {
          const known = specSelectors.specJson();
          const operation = known.getIn(["paths", request.pathName, request.method]);
          return execute({ ...request, operation, spec: known.toJS() });
        },
      },
    },
  },
});

async function show() {
  document.documentElement.classList.toggle("dark-mode", matchMedia("(prefers-color-scheme: dark)").matches);
  document.getElementById("back").search = location.search;
  try {
    await load("swagger-ui/swagger-ui-bundle.js");
  } catch {
    return tell("The package that draws this page, flask-swagger-ui, is not installed. Programs ask for openapi.json.");
  }
  const response = await fetch("../openapi.json", { headers }).catch(() => null);
  if (!response) return tell("The policy server does not answer.");
  const description = await response.json();
  if (!response.ok) return tell(description.error);
  window.SwaggerUIBundle({
    domNode: document.getElementById("calls"),
    // The page may stand behind a proxy, of which the description knows nothing.
    spec: { ...description, servers: [{ url: server }] },
    requestInterceptor: (request) => Object.assign(request, { headers: { ...request.headers, ...headers } }),
    defaultModelsExpandDepth: 0,
    validatorUrl: null, // by default it is another host
    tryItOutEnabled: true,
    plugins: [executesAtOnce],
  });
}

show();
